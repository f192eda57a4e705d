//! Every kind of message.

use futures_util::FutureExt;
use quail_client::CallError;
use quail_protocol::{
    Code, Event,
    bounded::{Blob, Text as Bounded},
    id::UserId,
    message::{
        Ack, Barrage, Body, Command, CommandNotice, ContactNotice, Content, Custom, DiscussionNotice, File,
        Image, InformationNotice, KINDS, Location, MessageBody, MessageKind, Options, Payload, ProfileNotice,
        RichContent, Send, Text, Video, Voice,
    },
    room::{Role, RoomHistory, Settings},
};
use quail_tests::{Town, next_message, within};

use super::{Case, Pair, next, play};

fn text<const MAX: usize>(text: &str) -> Bounded<MAX> {
    Bounded::new(text).unwrap()
}

fn blob<const MAX: usize>(bytes: &[u8]) -> Blob<MAX> {
    Blob::new(bytes.to_vec()).unwrap()
}

fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

/// Alice sends it, and Bob gets it as it was, now and from the history.
async fn arrives(mut pair: Pair, body: impl MessageBody + Into<Payload>) {
    let sent = within(pair.peer.compose(&body).send()).await.unwrap();
    let heard = next_message(&mut pair.to_bob).await;
    let payload: Payload = body.into();
    assert_eq!(Payload::decode(heard.content.kind, &heard.content.body).unwrap(), payload);
    assert_eq!(heard.position, sent.position);
    let page = pair.back.history(..).await.unwrap();
    assert_eq!(page.messages[..], [heard]);
}

const CASES: &[Case] = &[
    ("Text", |stage| {
        async { arrives(stage.pair().await, Text { text: "hi \u{1f426}".into() }).await }.boxed_local()
    }),
    ("Command", |stage| {
        async {
            let mut pair = stage.pair().await;
            let command = Command { name: text("dim"), data: blob(b"\x00\xff") };
            let sent = pair.peer.compose(&command).send().await.unwrap();
            let passed = next(&mut pair.to_bob, |event| match event {
                Event::MessagePassed(passed) => Some(passed),
                _ => None,
            });
            let passed = passed.await;
            assert_eq!((sent.ack, sent.id), (Ack::Accepted, passed.id));
            let payload = Payload::decode(passed.content.kind, &passed.content.body).unwrap();
            assert_eq!(payload, Payload::Command(command.clone()));
            assert_eq!(pair.peer.history(..).await.unwrap().head.seq.0, 0, "nobody keeps it");
            within(pair.bob.close()).await;
            let away = pair.peer.compose(&command).send().await.unwrap();
            assert_eq!(away.ack, Ack::NotDelivered);
        }
        .boxed_local()
    }),
    ("Image", |stage| {
        async {
            let thumbnail = blob(&[7; 100_000]);
            let url = text("https://example.org/i.jpg");
            arrives(stage.pair().await, Image { thumbnail, url, width: 640, height: 480, size: 99 }).await;
        }
        .boxed_local()
    }),
    ("File", |stage| {
        async {
            let (name, url) = (text("a.pdf"), text("https://example.org/a.pdf"));
            let media_type = text("application/pdf");
            arrives(stage.pair().await, File { name, url, media_type, size: 1 << 40 }).await;
        }
        .boxed_local()
    }),
    ("Voice", |stage| {
        async {
            let clip = blob(&[9; 60_000]);
            arrives(stage.pair().await, Voice { codec: text("opus"), seconds: 7, clip, url: text("") }).await;
        }
        .boxed_local()
    }),
    ("Video", |stage| {
        async {
            let (thumbnail, url) = (blob(b"png"), text("https://example.org/v.mp4"));
            let video = Video { thumbnail, url, width: 1920, height: 1080, seconds: 12, size: 5 };
            arrives(stage.pair().await, video).await;
        }
        .boxed_local()
    }),
    ("Location", |stage| {
        async {
            let (latitude_e7, longitude_e7) = (-338_567_844, 1_512_152_967);
            let (title, thumbnail) = (text("Opera House"), blob(b"map"));
            arrives(stage.pair().await, Location { latitude_e7, longitude_e7, title, thumbnail }).await;
        }
        .boxed_local()
    }),
    ("RichContent", |stage| {
        async {
            let (thumbnail, url) = (blob(b""), text("https://example.org"));
            let card = RichContent { title: text("News"), text: text("of today"), thumbnail, url };
            arrives(stage.pair().await, card).await;
        }
        .boxed_local()
    }),
    ("Barrage", |stage| {
        async {
            let pair = stage.pair().await;
            let refused = pair.peer.compose(&Barrage { text: text("whee") }).send().await.unwrap_err();
            assert!(
                matches!(refused.error, CallError::Reject(reject) if reject.code == Code::MessageKindRefused)
            );
        }
        .boxed_local()
    }),
    ("InformationNotice", |stage| {
        async { arrives(stage.pair().await, InformationNotice { text: text("it rains") }).await }
            .boxed_local()
    }),
    ("DiscussionNotice", |stage| {
        async {
            let (operation, operator) = (text("renamed"), user("alice"));
            arrives(stage.pair().await, DiscussionNotice { operation, operator, data: blob(b"x") }).await;
        }
        .boxed_local()
    }),
    ("ContactNotice", |stage| {
        async {
            let (from, to) = (user("alice"), user("bob"));
            let notice = ContactNotice { operation: text("Request"), from, to, text: text("be my friend") };
            arrives(stage.pair().await, notice).await;
        }
        .boxed_local()
    }),
    ("ProfileNotice", |stage| {
        async {
            arrives(stage.pair().await, ProfileNotice { operation: text("Update"), data: blob(b"{}") }).await;
        }
        .boxed_local()
    }),
    ("CommandNotice", |stage| {
        async { arrives(stage.pair().await, CommandNotice { name: text("dim"), data: blob(b"1") }).await }
            .boxed_local()
    }),
    ("Custom", |stage| {
        async {
            let custom = Custom { type_name: text("quiz"), subtype: 3, data: blob(&[1; 30_000]) };
            arrives(stage.pair().await, custom).await;
        }
        .boxed_local()
    }),
];

#[tokio::test]
async fn every_kind_of_message_arrives_as_it_was() {
    let town = Town::new().await;
    play(&town, KINDS.iter().map(|schema| format!("{:?}", schema.kind)), CASES).await;
}

#[tokio::test]
async fn a_kind_of_a_later_build_reaches_the_app_with_its_bytes() {
    let town = Town::new().await;
    for carrier in quail_tests::Carrier::ALL {
        let (alice, _events) = town.connect(carrier, "alice").await;
        let (_bob, mut to_bob) = town.connect(carrier, "bob").await;
        let kind = MessageKind::Unknown(9999);
        let body = Body::new(&b"\xff\x00 of the future"[..]).unwrap();
        let to_be_sent = alice.peer("bob").unwrap().message("x");
        let content = Content { options: Options::of(kind), ..Content::new(kind, body.clone()) };
        let (conversation, id) = (to_be_sent.conversation().clone(), to_be_sent.id());
        alice.call(Send { conversation, id, priority: Default::default(), content }).await.unwrap();
        let heard = next_message(&mut to_bob).await;
        let payload = Payload::decode(heard.content.kind, &heard.content.body).unwrap();
        assert_eq!(payload, Payload::Unknown { kind, body: body.into_bytes() });
    }
}

#[tokio::test]
async fn what_stands_beside_a_body_arrives_with_it() {
    let town = Town::new().await;
    for carrier in quail_tests::Carrier::ALL {
        let (alice, _events) = town.connect(carrier, "alice").await;
        let (_bob, mut to_bob) = town.connect(carrier, "bob").await;
        let bob = alice.peer("bob").unwrap();
        let first = bob.send("one").await.unwrap();
        next_message(&mut to_bob).await;
        let message = bob.message("two").extension(&b"\x01\x02"[..]).mention(user("bob")).mention_all();
        message.reply_to(first.position).push("you have mail").uncounted().send().await.unwrap();
        let Content { options, extension, mentions, reply_to, .. } = next_message(&mut to_bob).await.content;
        assert_eq!((options.count, options.push.as_str()), (false, "you have mail"));
        assert_eq!((&extension[..], reply_to), (&b"\x01\x02"[..], Some(first.position)));
        assert_eq!((mentions.all, &mentions.users[..]), (true, &[user("bob")][..]));
    }
}

#[tokio::test]
async fn a_message_that_was_placed_is_not_said_to_be_not_delivered_when_it_is_sent_again() {
    let town = Town::new().await;
    for carrier in quail_tests::Carrier::ALL {
        let name = format!("bob-{carrier:?}");
        let (alice, _events) = town.connect(carrier, "alice").await;
        let (bob, _to_bob) = town.connect(carrier, &name).await;
        let message = alice.peer(&name).unwrap().message("are you there?").online_only();
        let first = message.clone().send().await.unwrap();
        bob.close().await;
        assert_eq!(message.send().await.unwrap(), first);
    }
}

#[tokio::test]
async fn a_message_for_those_who_are_there_is_not_sent_to_those_who_are_not() {
    let town = Town::new().await;
    for carrier in quail_tests::Carrier::ALL {
        let name = format!("bob-{carrier:?}");
        let (alice, _events) = town.connect(carrier, "alice").await;
        let to = alice.peer(&name).unwrap();
        assert_eq!(to.message("anyone?").online_only().send().await.unwrap().ack, Ack::NotDelivered);
        assert_eq!(to.message("anyone?").unkept().send().await.unwrap().ack, Ack::NotDelivered);
        assert_eq!(to.history(..).await.unwrap().head.seq.0, 0);
        let (_bob, mut to_bob) = town.connect(carrier, &name).await;
        assert_eq!(to.message("ah").online_only().send().await.unwrap().ack, Ack::Durable);
        assert_eq!(to.message("oh").unkept().send().await.unwrap().ack, Ack::Accepted);
        assert_eq!(next_message(&mut to_bob).await.position.seq.0, 1);
        let passed = within(to_bob.recv()).await;
        assert!(matches!(passed, Some(Event::MessagePassed(passed)) if passed.follows.seq.0 == 1));
    }
}

#[tokio::test]
async fn what_a_room_keeps_is_what_was_said_in_it_with_all_that_stands_beside() {
    let town = Town::new().await;
    for carrier in quail_tests::Carrier::ALL {
        let alice = town.client(carrier, "alice").name("Alice");
        let (alice, _events) = within(alice.connect()).await.unwrap();
        let (bob, mut to_bob) = town.connect(carrier, "bob").await;
        let id = format!("r-{carrier:?}");
        let (r, theirs) = (alice.room(&*id).unwrap(), bob.room(&*id).unwrap());
        r.create(Settings { history: RoomHistory::Stored, ..Settings::default() }).await.unwrap();
        theirs.join(0).await.unwrap();
        let custom = Custom { type_name: text("quiz"), subtype: 3, data: blob(&[1; 30_000]) };
        let (thumbnail, url) = (blob(&[7; 100_000]), text("https://example.org/i.jpg"));
        let image = Image { thumbnail, url, width: 640, height: 480, size: 99 };
        let first = r.compose(&custom).send().await.unwrap();
        let beside = r.message("\u{1f426}").extension(&b"\x01\x02"[..]).mention(user("bob")).mention_all();
        let said = [r.compose(&image), beside.reply_to(first.position).push("look").uncounted()];
        for said in said {
            assert_eq!(said.send().await.unwrap().ack, Ack::Durable);
        }
        let mut heard = vec![];
        while heard.len() < 3 {
            let message = next(&mut to_bob, |event| match event {
                Event::MessageSent(message) => Some(message),
                _ => None,
            });
            heard.push(message.await);
        }
        let note = heard[2].member.as_ref().unwrap();
        assert_eq!((note.name.as_str(), note.role), ("Alice", Role::Owner));
        let ordinals: Vec<_> = heard.iter().map(|message| message.ordinal).collect();
        assert_eq!(ordinals, [1, 2, 2]);
        let (one, rest) = (theirs.history(1..=1).await.unwrap(), theirs.history(2..).await.unwrap());
        assert_eq!([&one.messages[..], &rest.messages[..]].concat(), heard);
        let (carol, _events) = town.connect(carrier, "carol").await;
        let entered = carol.room(&*id).unwrap().join(10).await.unwrap();
        assert_eq!(entered.recent[..], heard);
    }
}
