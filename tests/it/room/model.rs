//! Random operations on rooms by several users on several terminals, and starts of the server in between, against a
//! small model of what a room is.

mod state;

use std::collections::BTreeSet;

use quail_client::{AttributeOptions, Until};
use quail_protocol::room::{Leave, Reason, RestrictionKind};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use tempfile::TempDir;

use self::state::{Attribute, Model, Who};
use super::*;

const USERS: [&str; 4] = ["a", "b", "c", "d"];
const ROOMS: [&str; 3] = ["kept", "lived-in", "stored"];
const TERMINALS: usize = 2;
const STEPS: usize = 350;
const STARTS: usize = 3;

/// Everybody may be logged in often, and has long to come back.
const CONFIG: &str = "[apps.demo]\nmulti_login = \"many\"\n[apps.demo.rooms]\nreturn_grace = \"1h\"\n";

struct Terminal {
    who: Who,
    client: Client,
    events: Events,
}

struct Run {
    rng: StdRng,
    data: TempDir,
    server: Option<Process>,
    terminals: Vec<Terminal>,
    model: Model,
    said: u32,
}

fn outcome<T>(result: Result<T, impl Into<CallError>>) -> Result<T, Code> {
    match result.map_err(Into::into) {
        Ok(value) => Ok(value),
        Err(CallError::Reject(reject)) => Err(reject.code),
        Err(other) => panic!("{other:?}"),
    }
}

fn user(name: &str) -> quail_protocol::id::UserId {
    quail_protocol::id::UserId::new(name).unwrap()
}

impl Run {
    async fn new(seed: u64) -> Self {
        let (rng, data) = (StdRng::seed_from_u64(seed), tempfile::tempdir().unwrap());
        let mut run = Self { rng, data, server: None, terminals: vec![], model: Model::default(), said: 0 };
        run.start().await;
        run
    }

    /// Starts the server, again if it ran: killed or asked to end.
    async fn start(&mut self) {
        let (before, kill) = (self.server.take(), self.rng.random_bool(0.5));
        let data = self.data.path().join("data");
        let begin = move || {
            before.into_iter().for_each(if kill { Process::kill } else { Process::stop });
            Process::start_at(Path::new(QUAIL), &data, [SocketAddr::from(([127, 0, 0, 1], 0)); 2], CONFIG)
        };
        let server = tokio::task::spawn_blocking(begin).await.unwrap();
        self.terminals.clear();
        for name in USERS {
            for number in 0..TERMINALS {
                let carrier = Carrier::ALL[number % 2];
                let (client, events) = within(server.client_over(carrier, name).connect()).await.unwrap();
                self.terminals.push(Terminal { who: Who { user: name, terminal: number }, client, events });
            }
        }
        self.server = Some(server);
        self.model.start();
    }

    async fn run(mut self) {
        for start in 0..STARTS {
            if start > 0 {
                self.start().await;
            }
            for _ in 0..STEPS {
                self.step().await;
            }
            for id in ROOMS {
                self.compare(id).await;
            }
        }
    }

    /// One random operation, which must do what it does to the model.
    async fn step(&mut self) {
        let by = self.rng.random_range(0..self.terminals.len());
        let who = self.terminals[by].who;
        let id = *ROOMS.choose(&mut self.rng).unwrap();
        let other = *USERS.choose(&mut self.rng).unwrap();
        let (flag, reason) = (self.rng.random_bool(0.5), Reason::default());
        let r = room(&self.terminals[by].client, id);
        let settings = match id {
            "kept" => kept(),
            "stored" => stored(),
            _ => open(),
        };
        let model = &mut self.model;
        match self.rng.random_range(0..22) {
            0 => {
                assert_eq!(
                    outcome(r.create(settings).await).map(|in_it| in_it.status),
                    model.create(id, who)
                );
            }
            1 | 2 => {
                let joined = outcome(r.join(0).await).map(|in_it| in_it.status);
                assert_eq!(joined, model.join(id, who), "{who:?} joins {id}");
            }
            3..=5 => {
                let entered = outcome(r.enter(settings, 0).await).map(|in_it| in_it.status);
                assert_eq!(entered, model.enter(id, who), "{who:?} enters {id}");
            }
            6 => {
                let leave = Leave { room: r.id().clone(), all_devices: flag };
                let left = outcome(self.terminals[by].client.call(leave).await).map(drop);
                assert_eq!(left, model.leave(id, who, flag), "{who:?} leaves {id}");
            }
            7 => {
                // Seldom, or there would never be much in a room.
                if self.rng.random_bool(0.1) {
                    assert_eq!(outcome(r.dismiss().await).map(drop), self.model.dismiss(id, who.user));
                }
            }
            8 => {
                let name = format!("name {}", self.said);
                let update = UpdateInfo {
                    room: r.id().clone(),
                    name: Some(Text::new(name.clone()).unwrap()),
                    notice: None,
                    avatar: None,
                    extension: None,
                };
                assert_eq!(outcome(r.update_info(update).await).map(drop), model.rename(id, who.user, name));
            }
            9 | 10 => {
                let role = if flag { Role::Admin } else { Role::Member };
                let set = outcome(r.set_role(user(other), role, Default::default()).await);
                assert_eq!(set, model.set_role(id, who.user, other, flag), "{who:?} makes {other} {role:?}");
            }
            11 => {
                let transferred = outcome(r.transfer(user(other), Default::default()).await);
                assert_eq!(transferred, model.transfer(id, who.user, other), "{who:?} to {other}");
            }
            12 => {
                let kicked = outcome(r.kick(user(other), reason).await);
                assert_eq!(kicked, model.kick(id, who.user, other), "{who:?} kicks {other}");
            }
            13 | 14 => {
                let until = if flag { Until::End } else { Until::Lifted };
                let done = outcome(r.ban(user(other), until, reason).await);
                assert_eq!(done, model.ban(id, who.user, other, flag), "{who:?} bans {other}: {flag}");
            }
            15 => {
                let until = if flag { Until::End } else { Until::Lifted };
                let done = outcome(r.mute(user(other), until, reason).await);
                assert_eq!(done, model.mute(id, who.user, other, flag), "{who:?} mutes {other}: {flag}");
            }
            16 => {
                let until = if flag { Until::End } else { Until::Lifted };
                let done = outcome(r.mute_all(until, [Role::Admin], reason).await);
                assert_eq!(done, model.mute_all(id, who.user, flag), "{who:?}");
            }
            17 | 18 => {
                let key = ["x", "y", "z"].choose(&mut self.rng).copied().unwrap();
                let options = AttributeOptions {
                    force: self.rng.random_bool(0.5),
                    delete_after_owner_left: flag,
                    take_over: self.rng.random_bool(0.5),
                };
                let value = self.said.to_string();
                let set = outcome(r.set_attributes([(key, value.clone())], options).await).map(drop);
                let attribute = Attribute { value, owner: who.user, goes: flag };
                let expected = model.set_attribute(id, key, attribute, options.force, options.take_over);
                assert_eq!(set, expected, "{who:?} sets {key}: {options:?}");
            }
            19 => {
                let key = ["x", "y", "z"].choose(&mut self.rng).copied().unwrap();
                let deleted = outcome(r.delete_attributes([key], flag).await).map(drop);
                assert_eq!(deleted, model.delete_attribute(id, key, who.user, flag), "{who:?} deletes {key}");
            }
            20 => {
                let increased = outcome(r.increase_counters([("votes", 1)]).await).map(drop);
                assert_eq!(increased, model.increase(id, who.user), "{who:?}");
            }
            _ => self.say(by, id).await,
        }
        self.said += 1;
    }

    /// Says something in a room: everybody in it is told, and nobody else is, in the same order.
    async fn say(&mut self, by: usize, id: &'static str) {
        let what = format!("{} in {id}", self.said);
        let who = self.terminals[by].who;
        let sent = outcome(room(&self.terminals[by].client, id).send(what.clone()).await);
        let expected = self.model.say(id, who, &what);
        let placed = sent.as_ref().map(|sent| sent.position.seq.0 as usize).map_err(|code| *code);
        assert_eq!(placed, expected, "{who:?}");
        if sent.is_err() {
            return;
        }
        let told = self.model.terminals(id);
        for terminal in self.terminals.iter_mut().filter(|terminal| terminal.who != who) {
            if told.contains(&terminal.who) {
                // The next one: whoever was told something that was not meant for them shows it here.
                assert_eq!(text(&message(&mut terminal.events).await), what, "to {:?}", terminal.who);
            }
        }
    }

    /// Holds what a room says of itself against the model.
    async fn compare(&mut self, id: &'static str) {
        let Some(there) = self.model.rooms.get(id) else {
            return assert_eq!(
                outcome(room(&self.terminals[0].client, id).info().await),
                Err(Code::RoomNotFound)
            );
        };
        let (there, sessions) = (there.clone(), self.model.terminals(id));
        for terminal in &self.terminals {
            let r = room(&terminal.client, id);
            if !sessions.iter().any(|inside| inside.user == terminal.who.user) {
                assert_eq!(outcome(r.info().await), Err(Code::NotInRoom), "{:?}", terminal.who);
                continue;
            }
            let state = r.info().await.unwrap();
            let users: BTreeSet<_> = sessions.iter().map(|inside| inside.user).collect();
            assert_eq!((state.owner.as_str(), state.info.name.as_str()), (there.owner, &*there.name), "{id}");
            let placed = there.said.len() as u64;
            assert_eq!((state.members, state.head.seq.0), (users.len() as u64, placed), "{id}");
            let newest = r.history_backwards(..).await.unwrap().messages;
            let newest: Vec<_> = newest.iter().map(text).collect();
            assert!(there.said.ends_with(&newest) && newest.len() == there.said.len().min(100), "{id}");
            let page = r.members(0, 100).await.unwrap();
            let members: BTreeSet<_> = page.members.iter().map(|one| (one.user.as_str(), one.role)).collect();
            assert_eq!(members, users.iter().map(|user| (*user, there.role(user))).collect(), "{id}");
            let attributes = r.attributes().await.unwrap().attributes;
            let attributes: Vec<_> = attributes
                .iter()
                .map(|one| {
                    let value = String::from_utf8(one.value.to_vec()).unwrap();
                    (one.key.to_string(), value, one.owner.to_string(), one.delete_after_owner_left)
                })
                .collect();
            let expected = there
                .attributes
                .iter()
                .map(|(key, held)| (key.to_string(), held.value.clone(), held.owner.to_string(), held.goes));
            assert_eq!(attributes, expected.collect::<Vec<_>>(), "{id}");
            let votes: i64 = r.counters().await.unwrap().counters.iter().map(|counter| counter.value).sum();
            assert_eq!(votes, there.votes, "{id}");
            for (kind, expected) in
                [(RestrictionKind::Ban, &there.banned), (RestrictionKind::Mute, &there.muted)]
            {
                let page = outcome(r.restrictions(kind, None, 100).await);
                let named =
                    page.map(|page| page.restrictions.iter().map(|one| one.user.to_string()).collect());
                let expected = match there.role(terminal.who.user) {
                    Role::Owner | Role::Admin => Ok(expected.iter().map(ToString::to_string).collect()),
                    _ => Err(Code::RightMissing),
                };
                assert_eq!(named, expected.map(|users: Vec<String>| users), "{id} {kind:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_do_what_the_model_does_and_so_they_do_after_starts() {
    let seeds = std::env::var("ROOM_SEEDS").map_or(2, |seeds| seeds.parse().expect("a number"));
    for seed in 0..seeds {
        println!("seed {seed}");
        Run::new(seed).await.run().await;
    }
}
