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
        id::{AppId, DeviceId, UserId},
        session::{LoggedIn, Login, Platform, ResumeToken},
        version::REVISION,
    };

    use super::*;
    use crate::{
        apps::{self, Key, KeyAlgorithm, MultiLogin, Secret},
        context::{Context, Shared},
        domain::token::Claims,
        hub::fanout::FanOut,
        router::Serving,
        session::{Session, outbox},
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
}
