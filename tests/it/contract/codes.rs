//! Every reject code.

use std::{num::NonZeroU64, time::Duration};

use futures_util::{FutureExt, future::join_all};
use postcard_schema::Schema;
use quail_client::{CallError, Cause, Client, ConnectError, Until};
use quail_protocol::{
    Access, Class, Code, Epoch, Info, Opcode, Operation, Position, Rate, Seq,
    bounded::Text as Bounded,
    frame,
    id::{ClientMessageId, DeviceId},
    limits::{COUNTER_MAX, REPLIES_KEPT_MAX},
    message::{Barrage, Body, Content, MessageBody, MessageKind, Send, Text},
    room::{Role, Settings},
    session::{LoggedIn, Login, Ping, RenewToken},
    user::Feed,
};
use quail_server::{
    apps::{MultiLogin, Rates, Rooms, UnknownRecipients},
    config::Config,
    store::Write,
};
use quail_tests::{
    FAST, KID, STRICT, Town,
    raw::{self, Raw},
    store::{Asked, Failing, Fate},
    token::{Token, now, sign_raw},
    within,
};
use serde::{Deserialize, Serialize};

use super::{Case, Stage, play};

fn code<T: std::fmt::Debug>(result: Result<T, CallError>) -> Code {
    match result {
        Err(CallError::Reject(reject)) => reject.code,
        other => panic!("not refused: {other:?}"),
    }
}

/// How a login with `token` to `app` is refused.
async fn login(stage: &Stage<'_>, app: &str, token: String) -> Code {
    let alice = stage.town.client_of(stage.carrier, app, &stage.user("alice")).token(token);
    match within(alice.connect()).await {
        Err(ConnectError::Failed(Cause::LoginRefused(reject))) => reject.code,
        other => panic!("not refused: {:?}", other.map(|_| ())),
    }
}

/// How a visit is refused.
async fn visit(stage: &Stage<'_>) -> Code {
    match within(stage.town.visitor(stage.carrier).connect()).await {
        Err(ConnectError::Failed(Cause::LoginRefused(reject))) => reject.code,
        other => panic!("not refused: {:?}", other.map(|_| ())),
    }
}

async fn bad_token(stage: &Stage<'_>, change: impl FnOnce(&mut Token)) -> Code {
    login(stage, FAST, Token::new(FAST, &stage.user("alice")).with(change).sign()).await
}

/// What no public method asks: an operation of another build.
macro_rules! stranger {
    ($name:ident, $opcode:literal) => {
        #[derive(Serialize, Deserialize, Schema)]
        struct $name {}

        impl Operation for $name {
            type Reply = ();
            const INFO: Info = Info {
                opcode: Opcode($opcode),
                name: "stranger",
                access: Access::User,
                class: Class::Query,
                rate: Rate::Query,
            };
        }
    };
}

stranger!(Nobody, 0x7f01);
stranger!(Truncated, 0x0601);

fn send(client: &Client, to: &str, content: Content) -> Send {
    let message = client.peer(to).unwrap().message("x");
    let (conversation, id) = (message.conversation().clone(), message.id());
    Send { conversation, id, priority: Default::default(), content }
}

fn text(text: &str) -> Content {
    Text { text: text.into() }.to_content().unwrap()
}

async fn sends(stage: &Stage<'_>, change: impl FnOnce(&mut Send)) -> Code {
    let (alice, _events) = stage.connect("alice").await;
    let mut send = send(&alice, "bob", text("x"));
    change(&mut send);
    code(alice.call(send).await)
}

async fn recalls(stage: &Stage<'_>, change: impl FnOnce(&mut Position)) -> Code {
    let pair = stage.pair().await;
    let mut position = pair.say("x").await.position;
    change(&mut position);
    code(pair.peer.recall(position).await)
}

/// A case in a town whose configuration is its alone.
async fn elsewhere(
    stage: &Stage<'_>,
    change: impl FnOnce(&mut Config),
    case: impl AsyncFnOnce(&Stage<'_>) -> Code,
) -> Code {
    let town = Town::with(change).await;
    let stage = Stage { town: &town, carrier: stage.carrier, row: stage.row.clone() };
    case(&stage).await
}

/// A case in a town whose rooms are bounded otherwise.
async fn rooms(
    stage: &Stage<'_>,
    change: impl FnOnce(&mut Rooms),
    case: impl AsyncFnOnce(&Stage<'_>) -> Code,
) -> Code {
    elsewhere(stage, |config| change(&mut config.apps.get_mut(FAST).unwrap().rooms), case).await
}

macro_rules! cases {
    ($($code:ident => |$stage:ident| $case:expr;)+) => {
        const CASES: &[Case] = &[$((stringify!($code), |$stage| {
            async { assert_eq!($case, Code::$code) }.boxed_local()
        }),)+];
    };
}

cases! {
    Internal => |stage| failing(stage, |asked| feed(&asked, Fate::Fails), async |alice| {
        let refused = alice.call(Feed { after: Seq(0), limit: 1 }).await;
        assert!(matches!(&refused, Err(CallError::Reject(reject)) if reject.trace_id.is_some()));
        code(refused)
    }).await;
    UnknownOperation => |stage| code(stage.connect("alice").await.0.call(Nobody {}).await);
    Malformed => |stage| code(stage.connect("alice").await.0.call(Truncated {}).await);
    InvalidArgument => |stage| sends(stage, |send| send.content = text("")).await;
    RateLimited => |stage| elsewhere(stage, |config| {
        config.apps.get_mut(FAST).unwrap().rates = Rates::all(1);
    }, async |stage| {
        let (alice, _events) = stage.connect("alice").await;
        let asked = join_all((0..3).map(|_| alice.call(Feed { after: Seq(0), limit: 1 }))).await;
        code(asked.into_iter().find(Result::is_err).unwrap())
    }).await;
    TimedOut => |stage| failing(stage, |asked| feed(&asked, Fate::Hangs), async |alice| {
        code(alice.call(Feed { after: Seq(0), limit: 1 }).await)
    }).await;
    Unavailable => |stage| failing(stage, no_send, async |alice| {
        code(alice.call(send(&alice, "bob", text("the last one"))).await)
    }).await;
    NotLoggedIn => |stage| {
        // No client asks before its login is answered.
        let mut raw = Raw::connect(stage.town, stage.carrier).await;
        raw.request(1, &Feed { after: Seq(0), limit: 1 }).await;
        raw.refusal(1).await
    };
    ReplyForgotten => |stage| reply_forgotten(stage).await;
    AppUnknown => |stage| login(stage, "nobodys", Token::new("nobodys", "alice").sign()).await;
    TokenMalformed => |stage| login(stage, FAST, "no token".into()).await;
    TokenKeyUnknown => |stage| bad_token(stage, |token| token.kid = "another".into()).await;
    TokenAlgorithmRefused => |stage| {
        let header = format!(r#"{{"alg":"HS512","kid":"{KID}"}}"#);
        login(stage, FAST, sign_raw(&header, "{}")).await
    };
    TokenSignatureInvalid => |stage| {
        bad_token(stage, |token| token.secret = "another secret of thirty-two bytes".into()).await
    };
    TokenExpired => |stage| bad_token(stage, |token| token.claims.exp = Some(now() - 100)).await;
    TokenNotYetValid => |stage| bad_token(stage, |token| token.claims.nbf = Some(now() + 1000)).await;
    TokenAudienceMismatch => |stage| bad_token(stage, |token| token.claims.aud = Some(STRICT.into())).await;
    TokenSubjectMismatch => |stage| bad_token(stage, |token| token.claims.sub = Some("eve".into())).await;
    TokenClaimMissing => |stage| bad_token(stage, |token| token.claims.exp = None).await;
    TokenLifetimeTooLong => |stage| {
        bad_token(stage, |token| token.claims.exp = Some(now() + 365 * 24 * 3600)).await
    };
    AlreadyLoggedIn => |stage| {
        let (alice, _events) = stage.connect("alice").await;
        code(alice.call(raw::login(FAST, &stage.user("alice"))).await)
    };
    TooManySessions => |stage| elsewhere(stage, |config| {
        config.apps.get_mut(FAST).unwrap().sessions_per_user = 1;
    }, async |stage| {
        let _first = stage.connect("alice").await;
        login(stage, FAST, Token::new(FAST, &stage.user("alice")).sign()).await
    }).await;
    AppFull => |stage| elsewhere(stage, |config| {
        config.apps.get_mut(FAST).unwrap().sessions_max = 1;
    }, async |stage| {
        let _first = stage.connect("bob").await;
        login(stage, FAST, Token::new(FAST, &stage.user("alice")).sign()).await
    }).await;
    VisitorsRefused => |stage| elsewhere(stage, |config| {
        config.apps.get_mut(FAST).unwrap().visitors = false;
    }, async |stage| visit(stage).await).await;
    TooManyVisitors => |stage| elsewhere(stage, |config| config.addresses.visitors_max = 1, async |stage| {
        let _first = stage.visit().await;
        visit(stage).await
    }).await;
    LoggedInElsewhere => |stage| logged_in_elsewhere(stage).await;
    UserUnknown => |stage| elsewhere(stage, |config| {
        config.apps.get_mut(FAST).unwrap().unknown_recipients = UnknownRecipients::Refuse;
    }, async |stage| {
        let pair = stage.pair().await;
        pair.say("bob is known").await;
        code(pair.alice.call(send(&pair.alice, "nobody", text("x"))).await)
    }).await;
    EpochMismatch => |stage| {
        let pair = stage.pair().await;
        let sent = pair.say("x").await;
        code(pair.back.mark_read(Position { epoch: Epoch(sent.position.epoch.0 + 1), ..sent.position }).await)
    };
    MessageTooLarge => |stage| sends(stage, |send| {
        send.content = Content::new(MessageKind::Custom, Body::new(vec![0; 40_000]).unwrap());
    }).await;
    MessageConflict => |stage| {
        let (alice, _events) = stage.connect("alice").await;
        let first = send(&alice, "bob", text("x"));
        alice.call(first.clone()).await.unwrap();
        code(alice.call(Send { content: text("y"), ..first }).await)
    };
    MessageKindRefused => |stage| sends(stage, |send| {
        send.content = Barrage { text: Default::default() }.to_content().unwrap();
    }).await;
    MessageIdStale => |stage| sends(stage, |send| send.id = ClientMessageId::at(1, [0; 10])).await;
    MessageNotFound => |stage| recalls(stage, |position| position.seq = position.seq.next()).await;
    NotSender => |stage| {
        let pair = stage.pair().await;
        let sent = pair.say("x").await;
        code(pair.back.recall(sent.position).await)
    };
    RecallTooLate => |stage| elsewhere(stage, |config| {
        config.apps.get_mut(FAST).unwrap().recall_window = Duration::ZERO;
    }, async |stage| {
        let pair = stage.pair().await;
        let sent = pair.say("x").await;
        // Time has to pass on the server's clock.
        while pair.alice.call(Ping {}).await.unwrap().time <= sent.time {}
        code(pair.peer.recall(sent.position).await)
    }).await;
    RoomNotFound => |stage| {
        let (alice, _events) = stage.connect("alice").await;
        code(alice.room(stage.user("none")).unwrap().join(0).await)
    };
    RoomExists => |stage| {
        let room = stage.room().await;
        room.bobs.leave().await.unwrap();
        code(room.bobs.create(Settings::default()).await)
    };
    NotInRoom => |stage| {
        let room = stage.room().await;
        room.bobs.leave().await.unwrap();
        code(room.bobs.send("x").await.map_err(Into::into))
    };
    RoomFull => |stage| rooms(stage, |rooms| rooms.members_max = NonZeroU64::new(2), async |stage| {
        let room = stage.room().await;
        let (carol, _events) = stage.connect("carol").await;
        code(carol.room(room.alices.id().as_str()).unwrap().join(0).await)
    }).await;
    TooManyRooms => |stage| rooms(stage, |rooms| rooms.per_user = 1, async |stage| {
        code(stage.room().await.alice.room("another").unwrap().create(Settings::default()).await)
    }).await;
    AppRoomsFull => |stage| rooms(stage, |rooms| rooms.per_app = 1, async |stage| {
        code(stage.room().await.alice.room("another").unwrap().create(Settings::default()).await)
    }).await;
    RightMissing => |stage| code(stage.room().await.bobs.dismiss().await);
    MutedInRoom => |stage| {
        let room = stage.room().await;
        room.alices.mute_all(Until::End, [], Default::default()).await.unwrap();
        code(room.bobs.send("x").await.map_err(Into::into))
    };
    BannedFromRoom => |stage| {
        let room = stage.room().await;
        room.alices.ban(room.bob.user_id().clone(), Until::End, Default::default()).await.unwrap();
        code(room.bobs.join(0).await)
    };
    MemberNotFound => |stage| {
        let room = stage.room().await;
        room.bobs.leave().await.unwrap();
        code(room.alices.kick(room.bob.user_id().clone(), Default::default()).await)
    };
    TooManyRestrictions => |stage| rooms(stage, |rooms| rooms.restrictions_max = 0, async |stage| {
        let room = stage.room().await;
        code(room.alices.mute(room.bob.user_id().clone(), Until::End, Default::default()).await)
    }).await;
    TooManyAdmins => |stage| rooms(stage, |rooms| rooms.admins_max = 0, async |stage| {
        let room = stage.room().await;
        code(room.alices.set_role(room.bob.user_id().clone(), Role::Admin, Default::default()).await)
    }).await;
    RoomThrottled => |stage| rooms(stage, |rooms| rooms.budget.normal = 0, async |stage| {
        code(stage.room().await.alices.send("x").await.map_err(Into::into))
    }).await;
    AttributeNotOwned => |stage| {
        let room = stage.room().await;
        room.alices.set_attributes([("k", "1")], Default::default()).await.unwrap();
        code(room.bobs.set_attributes([("k", "2")], Default::default()).await)
    };
    TooManyAttributes => |stage| rooms(stage, |rooms| rooms.holds.attributes = 1, async |stage| {
        code(stage.room().await.bobs.set_attributes([("j", ""), ("k", "")], Default::default()).await)
    }).await;
    AttributesTooLarge => |stage| rooms(stage, |rooms| rooms.holds.attributes_size.0 = 1, async |stage| {
        code(stage.room().await.bobs.set_attributes([("k", "1")], Default::default()).await)
    }).await;
    TooManyCounters => |stage| rooms(stage, |rooms| rooms.holds.counters = 1, async |stage| {
        code(stage.room().await.alices.set_counters([("j", 0), ("k", 0)]).await)
    }).await;
    CounterOutOfRange => |stage| {
        let room = stage.room().await;
        room.alices.set_counters([("k", COUNTER_MAX)]).await.unwrap();
        code(room.alices.increase_counters([("k", 1)]).await)
    };
}

fn feed(asked: &Asked<'_>, fate: Fate) -> Fate {
    if matches!(asked, Asked::Feed) { fate } else { Fate::Answered }
}

fn no_send(asked: Asked<'_>) -> Fate {
    let is_send = |write: &Write| matches!(write, Write::Append(_));
    if matches!(asked, Asked::Write(batch) if batch.iter().any(is_send)) {
        Fate::Fails
    } else {
        Fate::Answered
    }
}

/// A server whose store fails where it is told to.
async fn failing(
    stage: &Stage<'_>,
    fate: fn(Asked<'_>) -> Fate,
    case: impl AsyncFnOnce(Client) -> Code,
) -> Code {
    let soon = |config: &mut Config| config.session.request_timeout = Duration::from_millis(200);
    let town = Town::over(soon, |store| Failing::before(store, fate)).await;
    let (alice, _events) = town.connect(stage.carrier, "alice").await;
    case(alice).await
}

async fn reply_forgotten(stage: &Stage<'_>) -> Code {
    // A client asks nothing again that was answered.
    let user = stage.user("alice");
    let mut raw = Raw::connect(stage.town, stage.carrier).await;
    raw.request(1, &raw::login(FAST, &user)).await;
    let begun: LoggedIn = frame::decode(&raw.reply(1).await.unwrap()).unwrap();
    let last = 2 + REPLIES_KEPT_MAX as u32;
    let renew = || RenewToken { token: Bounded::new(Token::new(FAST, &user).sign()).unwrap() };
    for request_id in 2..=last {
        raw.request(request_id, &renew()).await;
        raw.reply(request_id).await.unwrap();
    }
    let mut again = Raw::connect(stage.town, stage.carrier).await;
    let resume = Some(begun.resume_token);
    again.request(1, &Login { resume, ..raw::login(FAST, &user) }).await;
    again.reply(1).await.unwrap();
    again.request(2, &renew()).await;
    again.refusal(2).await
}

async fn logged_in_elsewhere(stage: &Stage<'_>) -> Code {
    elsewhere(
        stage,
        |config| config.apps.get_mut(FAST).unwrap().multi_login = MultiLogin::One,
        async |stage| {
            // A client that was displaced while its connection was lost comes back.
            let login = |device: &str, resume| Login {
                device: DeviceId::new(device).unwrap(),
                resume,
                ..raw::login(FAST, &stage.user("alice"))
            };
            let mut first = Raw::connect(stage.town, stage.carrier).await;
            first.request(1, &login("first", None)).await;
            let begun: LoggedIn = frame::decode(&first.reply(1).await.unwrap()).unwrap();
            let mut second = Raw::connect(stage.town, stage.carrier).await;
            second.request(1, &login("second", None)).await;
            second.reply(1).await.unwrap();
            let mut back = Raw::connect(stage.town, stage.carrier).await;
            back.request(1, &login("first", Some(begun.resume_token))).await;
            back.refusal(1).await
        },
    )
    .await
}

#[tokio::test]
async fn every_reject_code_reaches_who_asked() {
    let town = Town::new().await;
    play(&town, Code::ALL.iter().map(|code| format!("{code:?}")), CASES).await;
}
