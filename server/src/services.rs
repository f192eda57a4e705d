//! Handlers. They orchestrate; rules are in [`crate::domain`].

pub mod conversation;
pub mod message;
pub mod room;
pub mod session;
pub mod user;

use crate::router::Router;

/// Every route of the server.
pub fn routes() -> Router {
    [session::routes, user::routes, conversation::routes, message::routes, room::routes]
        .into_iter()
        .fold(Router::default(), |router, add| add(router))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::FutureExt;
    use quail_protocol::{
        Code, Lane, Operation, Timestamp,
        bounded::Text,
        frame::{self, Decoder, Frame, Head, Outcome},
        id::{AppId, DeviceId, RoomId, SessionId, UserId},
        message::SenderNote,
        room::{Lifetime, LifetimeKind, Role, Settings},
        session::{LoggedIn, Login, Platform, PlatformClass, ResumeToken},
        version::REVISION,
    };

    use super::*;
    use crate::{
        addresses::{Counted, Proof},
        apps::{self, Key, KeyAlgorithm, MultiLogin, Secret},
        context::{Context, Shared},
        domain::{
            room::{Asker, Newcomer},
            token::Claims,
        },
        hub::{fanout::FanOut, rooms::Door},
        router::Serving,
        session::{Identity, Session, Streams, Visitor, outbox},
        store::{ProfileChange, Write},
    };

    #[test]
    fn every_operation_is_served() {
        assert_eq!(super::routes().missing(), Vec::<&str>::new());
    }

    const SECRET: &str = "a secret of thirty-two bytes, yes";

    /// A server whose committer has not begun.
    fn shared() -> Arc<Shared> {
        let key = Key { algorithm: KeyAlgorithm::HS256, secret: Secret::new(SECRET) };
        let app = apps::Config {
            keys: [("key".into(), key)].into(),
            multi_login: MultiLogin::One,
            ..apps::Config::default()
        };
        let apps = [(AppId::new("demo").unwrap(), app)].into();
        Arc::new(Shared { apps, ..Shared::empty(Timestamp(1_800_000_000_000)) })
    }

    fn login(device: &str, resume: Option<ResumeToken>) -> Login {
        let claims = Claims {
            sub: Some("alice".into()),
            aud: Some("demo".into()),
            iat: Some(1_800_000_000),
            exp: Some(1_800_000_600),
            nbf: None,
        };
        Login {
            revision: REVISION,
            app: AppId::new("demo").unwrap(),
            user: UserId::new("alice").unwrap(),
            token: Text::new(apps::sign("key", &Secret::new(SECRET), &claims).unwrap()).unwrap(),
            name: None,
            avatar: None,
            device: DeviceId::new(device).unwrap(),
            platform: Platform::Ios,
            client: Default::default(),
            stream_window_bytes: 0,
            streams_per_lane: 1,
            conversations: 0,
            resume,
        }
    }

    /// A login that is being served.
    fn serve(shared: &Arc<Shared>, login: &Login) -> (Arc<Session>, Serving) {
        let session = Arc::new(Session::new(outbox::Config::default()));
        let context = Context { session: session.clone(), shared: shared.clone() };
        (session, routes().serve(context, 1, Login::INFO.opcode, frame::encode_body(login).into()))
    }

    fn answer(session: &Session) -> Result<LoggedIn, Code> {
        let batch = session.outbox.take(Default::default(), Lane::Control, 1024).expect("an answer");
        let mut decoder = Decoder::new(1024);
        decoder.extend(&batch.bytes);
        match decoder.next_frame().unwrap() {
            Some(Frame { head: Head::Reply { outcome: Outcome::Reject(reject), .. }, .. }) => {
                Err(reject.code)
            }
            Some(frame) => Ok(frame::decode(&frame.body).unwrap()),
            None => panic!("no frame"),
        }
    }

    #[tokio::test]
    async fn a_login_elsewhere_while_a_profile_is_kept_is_not_pushed_out_again() {
        let shared = shared();
        let (app, user) = (AppId::new("demo").unwrap(), UserId::new("alice").unwrap());
        let known =
            ProfileChange { app, user, name: None, avatar: None, extension: None, time: Timestamp(1) };
        shared.store.write_batch(vec![Write::Profile(known)]).await.unwrap();
        let (first, serving) = serve(&shared, &login("first", None));
        serving.await;
        let key = answer(&first).unwrap().resume_token;
        assert!(first.outbox.detach(Default::default()), "its connection is lost");

        let name = Some(Text::new("Alice").unwrap());
        let (back, mut coming_back) = serve(&shared, &Login { name, ..login("first", Some(key)) });
        assert!(coming_back.as_mut().now_or_never().is_none(), "its name is being kept");
        let (other, serving) = serve(&shared, &login("other", None));
        serving.await;
        answer(&other).unwrap();

        let Shared { hub, rooms, store, metrics, committer, clock, .. } = &*shared;
        let (hub, rooms, metrics) = (hub.clone(), rooms.clone(), metrics.clone());
        let stage = FanOut { hub, rooms, store: store.clone(), metrics };
        tokio::select! {
            () = coming_back => {}
            ended = committer.clone().run(store.clone(), stage, *clock) => panic!("{ended:?}"),
        }
        assert_eq!(answer(&back).unwrap_err(), Code::LoggedInElsewhere);
        assert!(other.may_send());
    }

    /// A visitor of a room that alice has made, and nobody else's.
    fn visit(shared: &Arc<Shared>, app: &AppId, room: &RoomId) -> (Arc<Session>, Counted) {
        let [alice, visitor] = [(); 2].map(|()| Arc::new(Session::new(outbox::Config::default())));
        let lifetime = Lifetime { kind: LifetimeKind::Kept, ms: 0 };
        let door = Door::Create(Settings { lifetime, ..Settings::default() });
        let (who, config, now) = (newcomer("alice", [1; 16]), apps::Rooms::default(), shared.moment());
        drop(shared.rooms.enter((app, &config), room, &door, (&who, &alice), 0, now).unwrap());
        let address = [192, 0, 2, 1].into();
        let counted = shared.addresses.admit(address, Proof::Shown, shared.clock.now()).unwrap();
        let guest = shared.addresses.visit(address).unwrap();
        let (id, session) = (UserId::new("visitor:1").unwrap(), SessionId([9; 16]));
        visitor.visit(Visitor::new(app.clone(), id, session, guest), Streams::default());
        drop(shared.rooms.visit(app, room, (session, &visitor), 0, now).unwrap());
        (visitor, counted)
    }

    fn newcomer(user: &str, session: [u8; 16]) -> Newcomer {
        let note = SenderNote { name: Default::default(), avatar: Default::default(), role: Role::Member };
        Newcomer { user: UserId::new(user).unwrap(), session: SessionId(session), note }
    }

    #[tokio::test]
    async fn a_visitor_whose_login_gives_way_to_another_before_it_is_done_leaves_nobody_in_a_room() {
        let shared = shared();
        let (app, room) = (AppId::new("demo").unwrap(), RoomId::new("r").unwrap());
        let (visitor, _counted) = visit(&shared, &app, &room);
        let bob = newcomer("bob", [9; 16]);
        let (user, device) = (bob.user.clone(), DeviceId::new("d").unwrap());
        let identity =
            Identity { app: app.clone(), user, device, class: PlatformClass::Web, session: bob.session };
        visitor.log_in(identity, Streams::default()).unwrap();
        // Another login of the same user found it in the hub.
        assert!(visitor.leave());
        assert!(visitor.take_visitor().is_some());
        room::promote(&shared, (&app, &apps::Rooms::default()), &visitor, &bob);
        let counts = |rules: &crate::domain::room::Room| {
            let state = rules.state(&Asker::Visitor(bob.session));
            (state.members, state.visitors)
        };
        let alice = Asker::User(UserId::new("alice").unwrap());
        assert_eq!(shared.rooms.ask(&app, &room, &alice, counts), Ok((1, 0)));
        assert_eq!(visitor.rooms().len(), 0);
    }
}
