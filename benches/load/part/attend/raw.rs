//! A session with nothing of the client crate in it, and a connection to the bare loop.

use anyhow::{Context, bail, ensure};
use quail_protocol::{
    Close, Lane, Operation,
    bounded::Text,
    frame::{self, Decoder, Frame, Head, Outcome},
    id::{AppId, DeviceId, RoomId, UserId},
    limits::FRAME_BYTES_MAX,
    room::Enter,
    session::{Login, Platform},
    version::REVISION,
};
use quinn::{Connection, ConnectionError, RecvStream, SendStream};

use crate::clients::{self, APP};

/// Frames of one stream.
pub(crate) struct Frames {
    stream: RecvStream,
    decoder: Decoder,
    /// Bytes that came so far.
    pub(crate) received: u64,
}

impl Frames {
    fn of(stream: RecvStream) -> Self {
        Self { stream, decoder: Decoder::new(FRAME_BYTES_MAX), received: 0 }
    }

    /// A frame that is there already.
    pub(crate) fn ready(&mut self) -> anyhow::Result<Option<Frame>> {
        Ok(self.decoder.next_frame()?)
    }

    /// Waits for more bytes. False if there are no more.
    pub(crate) async fn more(&mut self) -> anyhow::Result<bool> {
        self.more_of(16 * 1024).await
    }

    /// Waits for more bytes, and takes so many at most.
    pub(crate) async fn more_of(&mut self, bytes_max: usize) -> anyhow::Result<bool> {
        let chunk = self.stream.read_chunk(bytes_max, true).await?;
        if let Some(chunk) = &chunk {
            self.received += chunk.bytes.len() as u64;
            self.decoder.extend(&chunk.bytes);
        }
        Ok(chunk.is_some())
    }

    /// The next frame.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Frame> {
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
pub(crate) struct Raw {
    /// Where messages go.
    pub(crate) send: SendStream,
    /// Where they come from.
    pub(crate) frames: Frames,
    /// Where a session says that it is there.
    pub(crate) control: Option<SendStream>,
    /// The streams of the other lanes, kept open.
    others: Vec<OpenLane>,
    replies: Option<Frames>,
    /// What all of them are of.
    pub(crate) connection: Connection,
}

/// A lane of a session: its stream in both directions.
pub(crate) type OpenLane = (Lane, SendStream, Frames);

/// The number of the first request of a member that is in its room.
pub(crate) const FIRST_REQUEST_ID: u32 = 3;

impl Raw {
    /// Logs in and goes into the room, which is made if need be.
    pub(crate) async fn member(
        connection: Connection,
        user: u32,
        room: u32,
        stream_window_bytes: u32,
    ) -> anyhow::Result<Self> {
        let mut raw = Self::session(connection, user, stream_window_bytes).await?;
        raw.enter(room).await?;
        Ok(raw)
    }

    /// Logs in and opens all lanes. The number of its next request is one below [`FIRST_REQUEST_ID`].
    pub(crate) async fn session(
        connection: Connection,
        user: u32,
        stream_window_bytes: u32,
    ) -> anyhow::Result<Self> {
        let (mut control, mut replies) = open(&connection, &[Lane::Control.tag()]).await?;
        let login = login(user, stream_window_bytes)?;
        request((&mut control, &mut replies), 1, &login).await?;
        let mut others = vec![];
        for lane in Lane::ALL {
            if lane != Lane::Control {
                let (send, frames) = open(&connection, &[lane.tag()]).await?;
                others.push((lane, send, frames));
            }
        }
        let normal = others.iter().position(|(lane, ..)| *lane == Lane::Normal).context("a Normal lane")?;
        let (_, send, frames) = others.swap_remove(normal);
        Ok(Self { send, frames, control: Some(control), others, replies: Some(replies), connection })
    }

    /// Goes into the room, which is made if need be.
    pub(crate) async fn enter(&mut self, room: u32) -> anyhow::Result<()> {
        let enter = entering(room)?;
        let (control, replies) = (self.control.as_mut(), self.replies.as_mut());
        request(control.zip(replies).context("a Control lane")?, FIRST_REQUEST_ID - 1, &enter).await
    }

    /// All its lanes; of a connection to the bare loop its only stream.
    pub(crate) fn into_lanes(self) -> Vec<OpenLane> {
        let Self { send, frames, control, others, replies, .. } = self;
        let control = control.zip(replies).map(|(send, frames)| (Lane::Control, send, frames));
        control.into_iter().chain([(Lane::Normal, send, frames)]).chain(others).collect()
    }

    /// Where messages of the highest priority come from.
    pub(crate) fn take_high(&mut self) -> anyhow::Result<(SendStream, Frames)> {
        let high = self.others.iter().position(|(lane, ..)| *lane == Lane::High).context("a High lane")?;
        let (_, send, frames) = self.others.swap_remove(high);
        Ok((send, frames))
    }

    /// Tells the bare loop who this is.
    pub(crate) async fn bare(connection: Connection, room: u32, speaks: bool) -> anyhow::Result<Self> {
        let [.., high, low] = room.to_be_bytes();
        let (send, mut frames) = open(&connection, &[high, low, u8::from(speaks)]).await?;
        frames.reply(0).await?;
        Ok(Self { send, frames, control: None, others: vec![], replies: None, connection })
    }
}

/// How a user logs in that is nothing but a session.
pub(crate) fn login(user: u32, stream_window_bytes: u32) -> anyhow::Result<Login> {
    let user = clients::user(user);
    Ok(Login {
        revision: REVISION,
        app: AppId::new(APP)?,
        user: UserId::new(&user)?,
        token: Text::new(clients::token(&user)?)?,
        name: None,
        avatar: None,
        device: DeviceId::new("load")?,
        platform: Platform::Linux,
        client: Text::new("load")?,
        stream_window_bytes,
        streams_per_lane: 1,
        conversations: 0,
        resume: None,
    })
}

/// How it goes into a room, which is made if need be.
pub(crate) fn entering(room: u32) -> anyhow::Result<Enter> {
    Ok(Enter { room: RoomId::new(format!("room-{room}"))?, settings: Default::default(), recent: 0 })
}

async fn open(connection: &Connection, first: &[u8]) -> anyhow::Result<(SendStream, Frames)> {
    let (mut send, receive) = connection.open_bi().await?;
    send.write_all(first).await?;
    Ok((send, Frames::of(receive)))
}

async fn request<O: Operation>(
    (send, frames): (&mut SendStream, &mut Frames),
    request_id: u32,
    operation: &O,
) -> anyhow::Result<()> {
    let head = Head::Request { request_id, opcode: O::INFO.opcode };
    send.write_all(&frame::encode(&head, operation)).await?;
    frames.reply(request_id).await.with_context(|| O::INFO.name)
}

/// Why a connection ended, in a word.
pub(crate) fn reason(error: &ConnectionError) -> String {
    match error {
        ConnectionError::ApplicationClosed(close) => {
            let number = u16::try_from(close.error_code.into_inner()).unwrap_or_default();
            format!("{:?}", Close::from_number(number))
        }
        other => other.to_string(),
    }
}
