//! A session with nothing of the client crate in it, and a connection to the bare loop.

use anyhow::{Context, bail, ensure};
use quail_protocol::{
    Lane, Operation,
    bounded::Text,
    frame::{self, Decoder, Frame, Head, Outcome},
    id::{AppId, DeviceId, RoomId, UserId},
    limits::FRAME_BYTES_MAX,
    room::Enter,
    session::{Login, Platform},
    version::REVISION,
};
use quinn::{Connection, RecvStream, SendStream};

use crate::clients::{self, APP, STREAM_WINDOW_BYTES};

/// Frames of one stream.
pub(super) struct Frames {
    stream: RecvStream,
    decoder: Decoder,
}

impl Frames {
    fn of(stream: RecvStream) -> Self {
        Self { stream, decoder: Decoder::new(FRAME_BYTES_MAX) }
    }

    /// A frame that is there already.
    pub(super) fn ready(&mut self) -> anyhow::Result<Option<Frame>> {
        Ok(self.decoder.next_frame()?)
    }

    /// Waits for more bytes. False if there are no more.
    pub(super) async fn more(&mut self) -> anyhow::Result<bool> {
        let chunk = self.stream.read_chunk(16 * 1024, true).await?;
        if let Some(chunk) = &chunk {
            self.decoder.extend(&chunk.bytes);
        }
        Ok(chunk.is_some())
    }

    /// The next frame.
    pub(super) async fn next(&mut self) -> anyhow::Result<Frame> {
        loop {
            if let Some(frame) = self.ready()? {
                return Ok(frame);
            }
            ensure!(self.more().await?, "the server ended a stream");
        }
    }

    async fn reply(&mut self, id: u32) -> anyhow::Result<()> {
        loop {
            match self.next().await?.head {
                Head::Reply { request_id, outcome: Outcome::Ok } if request_id == id => return Ok(()),
                Head::Reply { outcome: Outcome::Reject(reject), .. } => bail!("refused: {:?}", reject.code),
                _ => {}
            }
        }
    }
}

/// See the module.
pub(super) struct Raw {
    /// Where messages go.
    pub(super) send: SendStream,
    /// Where they come from.
    pub(super) frames: Frames,
    /// Where a session says that it is there.
    pub(super) control: Option<SendStream>,
    /// Kept open.
    _others: Vec<(Option<SendStream>, Frames)>,
    _connection: Connection,
}

/// The number of the first request of a member that is in its room.
pub(super) const FIRST_REQUEST_ID: u32 = 3;

impl Raw {
    /// Logs in and goes into the room, which is made if need be.
    pub(super) async fn member(connection: Connection, user: u32, room: u32) -> anyhow::Result<Self> {
        let user = clients::user(user);
        let mut control = open(&connection, &[Lane::Control.tag()]).await?;
        let login = Login {
            revision: REVISION,
            app: AppId::new(APP)?,
            user: UserId::new(&user)?,
            token: Text::new(clients::token(&user)?)?,
            name: None,
            avatar: None,
            device: DeviceId::new("load")?,
            platform: Platform::Linux,
            client: Text::new("load")?,
            stream_window_bytes: STREAM_WINDOW_BYTES,
            resume: None,
        };
        request(&mut control, 1, &login).await?;
        let mut others = vec![];
        for lane in Lane::ALL {
            if lane != Lane::Control {
                others.push((lane, open(&connection, &[lane.tag()]).await?));
            }
        }
        let enter =
            Enter { room: RoomId::new(format!("room-{room}"))?, settings: Default::default(), recent: 0 };
        request(&mut control, 2, &enter).await?;
        let normal = others.iter().position(|(lane, _)| *lane == Lane::Normal).context("a Normal lane")?;
        let (_, (send, frames)) = others.swap_remove(normal);
        let mut others: Vec<_> = others.into_iter().map(|(_, (send, frames))| (Some(send), frames)).collect();
        let (control, replies) = control;
        others.push((None, replies));
        Ok(Self { send, frames, control: Some(control), _others: others, _connection: connection })
    }

    /// Tells the bare loop who this is.
    pub(super) async fn bare(connection: Connection, room: u32, speaks: bool) -> anyhow::Result<Self> {
        let [.., high, low] = room.to_be_bytes();
        let (send, mut frames) = open(&connection, &[high, low, u8::from(speaks)]).await?;
        frames.reply(0).await?;
        Ok(Self { send, frames, control: None, _others: vec![], _connection: connection })
    }
}

async fn open(connection: &Connection, first: &[u8]) -> anyhow::Result<(SendStream, Frames)> {
    let (mut send, receive) = connection.open_bi().await?;
    send.write_all(first).await?;
    Ok((send, Frames::of(receive)))
}

async fn request<O: Operation>(
    (send, frames): &mut (SendStream, Frames),
    request_id: u32,
    operation: &O,
) -> anyhow::Result<()> {
    let head = Head::Request { request_id, opcode: O::INFO.opcode };
    send.write_all(&frame::encode(&head, operation)).await?;
    frames.reply(request_id).await.with_context(|| O::INFO.name)
}
