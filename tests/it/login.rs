//! Sessions that give way to others, and sessions whose token ends.

use std::time::Duration;

use quail_client::{CallError, Cause, State};
use quail_protocol::{
    Close, Code, Event, Priority, Seq,
    bounded::Text,
    frame,
    id::{AppId, ClientMessageId, DeviceId, UserId},
    message::{Content, Direction, History, MessageKind, Send},
    session::{Platform, RenewToken, TokenWillExpire},
};
use quail_server::apps::MultiLogin;
use quail_tests::{
    Carrier, FAST, Town,
    raw::{Raw, Said, login},
    token::{Token, now},
    within,
};

async fn town(multi_login: MultiLogin) -> Town {
    Town::with(|config| config.apps.get_mut(FAST).unwrap().multi_login = multi_login).await
}

#[tokio::test]
async fn a_policy_says_which_sessions_give_way() {
    use Platform::{Android, Bot, Ios, Linux, Web};
    for (policy, older, newer, kicked) in [
        (MultiLogin::OnePerClass, Ios, Android, true),
        (MultiLogin::OnePerClass, Ios, Linux, false),
        (MultiLogin::OnePerClass, Web, Web, true),
        (MultiLogin::OnePerClass, Bot, Bot, false),
        (MultiLogin::One, Ios, Web, true),
        (MultiLogin::Many, Web, Web, false),
    ] {
        let town = town(policy).await;
        for carrier in Carrier::ALL {
            let (first, _events) =
                within(town.client(carrier, "alice").platform(older).connect()).await.unwrap();
            let (second, _events) =
                within(town.client(Carrier::Quic, "alice").platform(newer).connect()).await.unwrap();
            let case = format!("{policy:?} {older:?} {newer:?} over {carrier:?}");
            if kicked {
                let mut states = first.states();
                let ended = State::Disconnected { cause: Cause::Closed(Close::KickedOut) };
                while states.current() != ended {
                    within(states.changed()).await.unwrap_or_else(|| panic!("{case}"));
                }
            } else {
                assert!(first.call(quail_protocol::session::Ping {}).await.is_ok(), "{case}");
            }
            assert!(second.call(quail_protocol::session::Ping {}).await.is_ok(), "{case}");
            within(first.close()).await;
            within(second.close()).await;
        }
    }
}

#[tokio::test]
async fn nothing_of_a_displaced_session_gets_a_place_after_the_new_one_was_told() {
    let town = town(MultiLogin::OnePerClass).await;
    let (reader, _events) = town.connect(Carrier::Quic, "bob").await;
    for round in 0..20u8 {
        let (older, _events) =
            within(town.client(Carrier::Quic, "alice").platform(Platform::Web).connect()).await.unwrap();
        let sending = tokio::spawn(async move {
            let mut places = vec![];
            for number in 0.. {
                let send = Send {
                    conversation: quail_protocol::Conversation::Peer(UserId::new("bob").unwrap()),
                    id: ClientMessageId::at(
                        older.server_time().0,
                        [round, number as u8, (number >> 8) as u8, 0, 0, 0, 0, 0, 0, 0],
                    ),
                    priority: Priority::Normal,
                    content: Content::new(
                        MessageKind::Text,
                        quail_protocol::message::Text::encode("x").unwrap(),
                    ),
                };
                match older.call(send).await {
                    Ok(sent) => places.push(sent.position.seq),
                    Err(CallError::Reject(reject)) => assert_eq!(reject.code, Code::NotLoggedIn),
                    Err(_) => return places,
                }
            }
            places
        });
        let (newer, _events) =
            within(town.client(Carrier::Quic, "alice").platform(Platform::Web).connect()).await.unwrap();
        let head = newer.peer("bob").unwrap().send("I am the one now").await.unwrap().position.seq;
        let places = within(sending).await.unwrap();
        assert!(places.iter().all(|seq| *seq < head), "round {round}");
        let query = History {
            conversation: quail_protocol::Conversation::Peer(UserId::new("alice").unwrap()),
            from: head.next(),
            to: Seq(u64::MAX),
            limit: 100,
            direction: Direction::Forwards,
        };
        assert!(reader.call(query).await.unwrap().messages.is_empty(), "round {round}: a message came later");
        within(newer.close()).await;
    }
}

#[tokio::test]
async fn a_token_is_warned_of_renewed_in_band_and_ends_the_session_if_not() {
    let town = Town::with(|config| config.session.token_warning = Duration::from_secs(3600)).await;
    for carrier in Carrier::ALL {
        let short = |seconds: u64| {
            Token::new(FAST, "alice").with(|token| token.claims.exp = Some(now() + seconds)).sign()
        };
        let mut raw = Raw::connect(&town, carrier).await;
        let mut hello = login(FAST, "alice");
        hello.token = Text::new(short(2)).unwrap();
        raw.request(1, &hello).await;
        raw.reply(1).await.unwrap();
        let Said::Frame(warning) = raw.next().await else { panic!("closed") };
        let frame::Head::Event { kind } = warning.head else { panic!("{warning:?}") };
        let Event::TokenWillExpire(TokenWillExpire { seconds }) = Event::decode(kind, warning.body).unwrap()
        else {
            panic!("another event")
        };
        assert!(seconds <= 2);

        raw.request(2, &RenewToken { token: Text::new("nonsense").unwrap() }).await;
        assert_eq!(raw.refusal(2).await, Code::TokenMalformed);
        raw.request(3, &RenewToken { token: Text::new(Token::new(FAST, "bob").sign()).unwrap() }).await;
        assert_eq!(raw.refusal(3).await, Code::TokenSubjectMismatch);
        raw.request(4, &RenewToken { token: Text::new(short(3)).unwrap() }).await;
        assert!(raw.reply(4).await.is_ok());
        assert_eq!(raw.closed().await, Close::TokenExpired);
    }
}

#[tokio::test]
async fn a_kicked_session_leaves_room_for_another() {
    let town = Town::with(|config| {
        let app = config.apps.get_mut(FAST).unwrap();
        app.multi_login = MultiLogin::OnePerClass;
        app.sessions_per_user = 1;
    })
    .await;
    for _ in 0..5 {
        let mut raw = Raw::connect(&town, Carrier::Quic).await;
        let mut hello = login(FAST, "alice");
        (hello.platform, hello.device) = (Platform::Ios, DeviceId::new("phone").unwrap());
        hello.app = AppId::new(FAST).unwrap();
        raw.request(1, &hello).await;
        assert!(raw.reply(1).await.is_ok());
    }
}
