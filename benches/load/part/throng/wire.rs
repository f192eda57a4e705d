//! What a session speaks and listens over: streams of QUIC, or one WebSocket.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context, bail};
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use quail_protocol::{
    Lane, Operation,
    frame::{self, Decoder, Frame, Head, Outcome},
    limits::FRAME_BYTES_MAX,
    version::WEBSOCKET_SUBPROTOCOL,
};
use quinn::SendStream;
use tokio::{net::TcpStream, sync::Mutex};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{ClientRequestBuilder, Message},
};

use super::Seat;
use crate::{
    clients,
    part::attend::raw::{FIRST_REQUEST_ID, entering, login},
};

/// Where the frames of one lane go.
pub(super) enum Out {
    /// A stream of its own.
    Quic(SendStream),
    /// A message of the lane, in a WebSocket that all lanes share.
    WebSocket(Lane, Sink),
}

type Sink = Arc<Mutex<SplitSink<WebSocketStream<TcpStream>, Message>>>;

impl Out {
    /// Writes a whole frame.
    pub(super) async fn write(&mut self, frame: Bytes) -> anyhow::Result<()> {
        match self {
            Self::Quic(stream) => Ok(stream.write_chunk(frame).await?),
            Self::WebSocket(lane, sink) => {
                let mut message = BytesMut::with_capacity(1 + frame.len());
                message.put_u8(lane.tag());
                message.extend_from_slice(&frame);
                Ok(sink.lock().await.send(Message::Binary(message.freeze())).await?)
            }
        }
    }
}

/// A session over a WebSocket.
pub(super) struct Socket {
    sink: Sink,
    stream: SplitStream<WebSocketStream<TcpStream>>,
    decoders: [Decoder; Lane::COUNT],
}

impl Socket {
    /// Logs in, and goes into the room if the seat is in one.
    pub(super) async fn open(server: SocketAddr, seat: Seat, apart: u32) -> anyhow::Result<Self> {
        let tcp = clients::tcp_apart(apart, server.to_string()).await?;
        let uri = format!("ws://{server}/ws").parse().context("the server's address")?;
        let request = ClientRequestBuilder::new(uri).with_sub_protocol(WEBSOCKET_SUBPROTOCOL);
        let (socket, _) = client_async(request, tcp).await?;
        let (sink, stream) = socket.split();
        let decoders = std::array::from_fn(|_| Decoder::new(FRAME_BYTES_MAX));
        let mut opened = Self { sink: Arc::new(Mutex::new(sink)), stream, decoders };
        // It has no streams whose windows the server would have to know.
        opened.ask(1, &login(seat.user, 0)?).await?;
        if seat.partner.is_none() {
            opened.ask(FIRST_REQUEST_ID - 1, &entering(seat.conversation)?).await?;
        }
        Ok(opened)
    }

    /// Where the frames of a lane go.
    pub(super) fn out(&self, lane: Lane) -> Out {
        Out::WebSocket(lane, self.sink.clone())
    }

    async fn ask<O: Operation>(&mut self, request_id: u32, operation: &O) -> anyhow::Result<()> {
        let head = Head::Request { request_id, opcode: O::INFO.opcode };
        self.out(Lane::Control).write(frame::encode(&head, operation)).await?;
        loop {
            for frame in self.next().await?.context("the server hung up")? {
                match frame.head {
                    Head::Reply { request_id: id, outcome: Outcome::Ok } if id == request_id => return Ok(()),
                    Head::Reply { outcome: Outcome::Reject(reject), .. } => {
                        bail!("refused: {:?}", reject.code)
                    }
                    _ => {}
                }
            }
        }
    }

    /// The frames of the next message; `None` at the end.
    pub(super) async fn next(&mut self) -> anyhow::Result<Option<Vec<Frame>>> {
        let Some(message) = self.stream.next().await else { return Ok(None) };
        let bytes = match message? {
            Message::Binary(bytes) => bytes,
            Message::Close(frame) => {
                let close = frame.map(|frame| quail_protocol::Close::from_number(frame.code.into()));
                bail!(close.map_or_else(|| "hung up".to_owned(), |close| format!("{close:?}")))
            }
            _ => return Ok(Some(vec![])),
        };
        let lane = bytes.first().copied().and_then(Lane::from_tag).context("a lane that is none")?;
        let decoder = &mut self.decoders[lane.index()];
        decoder.extend(&bytes[1..]);
        let mut frames = vec![];
        while let Some(frame) = decoder.next_frame()? {
            frames.push(frame);
        }
        Ok(Some(frames))
    }
}
