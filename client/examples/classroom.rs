//! A lesson in a room: a teacher asks, students answer, and a counter that students cannot touch tallies who was right.
//!
//! Start a development server with `cargo run`, which prints its address and its certificate's SHA-256. A token each is made
//! by `target/debug/quail token --user teacher`, and so on for ada and ben. Then
//! `cargo run -p quail-client --example classroom -- 127.0.0.1:4433 <fingerprint> <teacher's token> <ada's> <ben's>`

use std::{collections::BTreeSet, env, error::Error};

use bytes::Bytes;
use quail_client::{
    CallError, Client, Events, Room, Trust,
    protocol::{
        Code, Conversation, Event,
        bounded::{Blob, Text},
        message::{Custom, Message, Payload},
        room::Settings,
    },
};

type Failure = Box<dyn Error + Send + Sync>;

const QUESTION: &str = "quiz.question";
const ANSWER: &str = "quiz.answer";
const RESULT: &str = "quiz.result";

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [address, fingerprint, teacher, ada, ben] = arguments.as_slice() else {
        return Err(
            "usage: classroom <host:port> <certificate sha-256> <token of teacher> <of ada> <of ben>".into(),
        );
    };
    let mut people = vec![];
    for (user, token) in [("teacher", teacher), ("ada", ada), ("ben", ben)] {
        let trust = Trust::fingerprint(fingerprint)?;
        let builder = Client::builder(address).app("demo").user(user).token(token).trust(trust);
        people.push(builder.connect().await?);
    }
    let [teacher, ada, ben] = people.try_into().map_err(|_| "three are in the lesson")?;
    lesson("maths", teacher, [(ada, "56"), (ben, "54")]).await?;
    Ok(())
}

/// One question, from asking to what everybody is shown, which is the answer.
pub(crate) async fn lesson<const N: usize>(
    room: &str,
    (teacher, answers): (Client, Events),
    students: [((Client, Events), &'static str); N],
) -> Result<[String; N], Failure> {
    let classroom = teacher.room(room)?;
    // Whoever makes a room owns it. Its counters are for its owner and the admins, unless the settings say otherwise.
    classroom.create(Settings::default()).await?;
    classroom.set_counters([("right", 0), ("wrong", 0)]).await?;

    let mut seats = vec![];
    for ((client, events), answer) in students {
        client.room(room)?.join(0).await?;
        seats.push(tokio::spawn(learn(client, events, answer)));
    }
    ask(&classroom, answers, "How much is 7 times 8?", "56", N).await?;

    let mut shown = vec![];
    for seat in seats {
        shown.push(seat.await??);
    }
    classroom.dismiss().await?;
    shown.try_into().map_err(|_| "a result for each".into())
}

/// The teacher: asks, counts, and shows to all how many were right.
async fn ask(
    classroom: &Room,
    mut events: Events,
    question: &str,
    solution: &str,
    students: usize,
) -> Result<(), Failure> {
    println!("teacher asks: {question}");
    classroom.compose(&note(QUESTION, question)?).send().await?;
    let mut answered = BTreeSet::new();
    while answered.len() < students {
        let event = events.recv().await.ok_or("the connection ended")?;
        let Event::MessageSent(message) = event else { continue };
        let Some(answer) = read(&message, ANSWER) else { continue };
        // The first answer of each counts.
        if answered.insert(message.sender.clone()) {
            let counter = if answer == solution { "right" } else { "wrong" };
            classroom.increase_counters([(counter, 1)]).await?;
        }
    }
    let tally = classroom.counters().await?.counters;
    let tally: Vec<_> = tally.iter().map(|counter| format!("{} {}", counter.value, counter.key)).collect();
    classroom.compose(&note(RESULT, &tally.join(", "))?).send().await?;
    Ok(())
}

/// A student: answers what is asked, and returns the result that is shown.
async fn learn(client: Client, mut events: Events, answer: &str) -> Result<String, Failure> {
    let me = client.user_id().clone();
    while let Some(event) = events.recv().await {
        match event {
            Event::CountersUpdated(told) => {
                for counter in &*told.counters {
                    println!("{me} sees: {} {}", counter.value, counter.key);
                }
            }
            Event::MessageSent(message) => {
                let Conversation::Room(room) = &message.conversation else { continue };
                let classroom = client.room(room.as_str())?;
                if read(&message, QUESTION).is_some() {
                    println!("{me} answers: {answer}");
                    classroom.compose(&note(ANSWER, answer)?).send().await?;
                    cheat(&classroom).await?;
                } else if let Some(result) = read(&message, RESULT) {
                    println!("{me} is shown: {result}");
                    return Ok(result);
                }
            }
            _ => {}
        }
    }
    Err("the connection ended before the result was shown".into())
}

/// What a student had better not try.
async fn cheat(classroom: &Room) -> Result<(), Failure> {
    match classroom.increase_counters([("right", 100)]).await {
        Err(CallError::Reject(reject)) if reject.code == Code::RightMissing => Ok(()),
        Err(error) => Err(error.into()),
        Ok(_) => Err("a student changed the tally".into()),
    }
}

fn note(type_name: &str, text: &str) -> Result<Custom, Failure> {
    let data = Blob::new(Bytes::copy_from_slice(text.as_bytes()))?;
    Ok(Custom { type_name: Text::new(type_name)?, subtype: 0, data })
}

/// What a custom message of this type says.
fn read(message: &Message, type_name: &str) -> Option<String> {
    let Ok(Payload::Custom(custom)) = Payload::decode(message.content.kind, &message.content.body) else {
        return None;
    };
    (custom.type_name.as_str() == type_name).then(|| String::from_utf8_lossy(&custom.data).into_owned())
}
