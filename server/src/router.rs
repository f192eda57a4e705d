//! From an opcode to its handler: access, rate, span, decoding, panics, timeouts, metrics, all written once.
//!
//! The router knows no domain: routes are handed in.

use std::{collections::BTreeMap, future::Future, panic::AssertUnwindSafe, pin::Pin, sync::Arc};

use bytes::Bytes;
use futures_util::FutureExt;
use quail_protocol::{
    Access, Class, Code, Info, Lane, Opcode, Operation, Rate, Reject,
    frame::{self, Malformed},
};
use tracing::Instrument;

use crate::{
    context::Context,
    hub::Draw,
    respond::{Ask, Responder},
    session::{
        outbox::{Strand, Way},
        requests::Begun,
    },
    store::StoreError,
};

/// Why a handler did not serve a request.
#[derive(Debug)]
pub enum Failure {
    /// The request is refused.
    Reject(Reject),
    /// We failed.
    Internal(Box<dyn std::error::Error + Send + Sync>),
}

impl From<Reject> for Failure {
    fn from(reject: Reject) -> Self {
        Self::Reject(reject)
    }
}

impl From<Code> for Failure {
    fn from(code: Code) -> Self {
        Self::Reject(code.into())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Internal(Box::new(error))
    }
}

/// A request that is being served. It answers by itself.
pub type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;

type Serve = Box<dyn Fn(Context, Ask, Bytes) -> Serving + Send + Sync>;

type ServeSignal = fn(&Context, &[u8]) -> Result<(), Malformed>;

struct Route {
    info: Info,
    serve: Serve,
}

/// See the module.
#[derive(Default)]
pub struct Router {
    routes: BTreeMap<Opcode, Route>,
    signal: Option<ServeSignal>,
}

impl Router {
    /// Serves signals with `handler`, which answers nothing.
    pub fn on_signal(self, handler: ServeSignal) -> Self {
        Self { signal: Some(handler), ..self }
    }

    /// Serves a signal.
    pub fn signal(&self, context: &Context, body: &[u8]) -> Result<(), Malformed> {
        self.signal.map_or(Ok(()), |handler| handler(context, body))
    }

    /// Serves `O` with `handler`, whose reply goes out when it returns.
    pub fn on<O, F, Answer>(self, handler: F) -> Self
    where
        O: Operation,
        F: Fn(Context, O) -> Answer + Send + Sync + 'static,
        Answer: Future<Output = Result<O::Reply, Failure>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        self.on_deferred(move |context: Context, operation: O, responder| {
            let handler = handler.clone();
            async move {
                let shared = context.shared.clone();
                let answer = handler(context, operation);
                let result = match tokio::time::timeout(shared.session.request_timeout, answer).await {
                    Ok(Ok(reply)) => Ok(reply),
                    Ok(Err(Failure::Reject(reject))) => Err(shared.with_wait(reject)),
                    Ok(Err(Failure::Internal(error))) => {
                        Err(internal(shared.entropy.trace_id(), O::INFO.name, &*error))
                    }
                    Err(_elapsed) => Err(Code::TimedOut.into()),
                };
                responder.reply(result);
            }
        })
    }

    /// Serves `O` with `handler`, which hands its [`Responder`] to whoever answers, in the order that they answer.
    pub fn on_deferred<O, F, Done>(mut self, handler: F) -> Self
    where
        O: Operation,
        F: Fn(Context, O, Responder<O>) -> Done + Send + Sync + 'static,
        Done: Future<Output = ()> + Send + 'static,
    {
        let serve = move |context: Context, mut ask: Ask, body: Bytes| -> Serving {
            match frame::decode::<O>(&body) {
                Ok(operation) => {
                    let strand = operation.conversation().map_or_else(Strand::default, Strand::of);
                    ask.way = Way { lane: operation.lane(), strand };
                    Box::pin(handler(context, operation, Responder::new(ask)))
                }
                Err(_) => {
                    ask.reject(Code::Malformed.into());
                    Box::pin(std::future::ready(()))
                }
            }
        };
        let before = self.routes.insert(O::INFO.opcode, Route { info: O::INFO, serve: Box::new(serve) });
        assert!(before.is_none(), "{} is served twice", O::INFO.name);
        self
    }

    /// What the protocol defines and nobody serves. Empty, or the server does not start.
    pub fn missing(&self) -> Vec<&'static str> {
        let unserved = |info: &&Info| !self.routes.contains_key(&info.opcode);
        quail_protocol::operations().filter(unserved).map(|info| info.name).collect()
    }

    /// Starts serving a request. What comes back must be polled to its end.
    pub fn serve(&self, context: Context, request_id: u32, opcode: Opcode, body: Bytes) -> Serving {
        let shared = &context.shared;
        let route = self.routes.get(&opcode);
        let ask = Ask {
            session: context.session.clone(),
            metrics: shared.metrics.clone(),
            clock: shared.clock,
            operation: route.map_or("unknown", |route| route.info.name),
            class: route.map_or(Class::Query, |route| route.info.class),
            request_id,
            way: Lane::Control.into(),
            arrived: shared.clock.now(),
        };
        let Some(route) = route else {
            ask.reject(Code::UnknownOperation.into());
            return Box::pin(std::future::ready(()));
        };
        match context.session.begin(request_id, route.info.class) {
            Begun::New => {}
            // Answered by whoever serves it, or answered again.
            Begun::Serving | Begun::Answered(..) => return Box::pin(std::future::ready(())),
            Begun::Forgotten => {
                ask.reject(Code::ReplyForgotten.into());
                return Box::pin(std::future::ready(()));
            }
        }
        if route.info.rate == Rate::Free {
            context.session.count_free();
        }
        if let Err(reject) = admit(&context, &route.info) {
            ask.reject(reject);
            return Box::pin(std::future::ready(()));
        }
        let span = tracing::debug_span!(
            "request",
            operation = route.info.name,
            request_id,
            user = context.session.identity().map(|identity| tracing::field::display(&identity.user)),
        );
        let name = route.info.name;
        let serving = AssertUnwindSafe((route.serve)(context, ask, body)).catch_unwind();
        let guarded = async move {
            if serving.await.is_err() {
                // The responder was dropped on the way and has answered.
                tracing::error!(operation = name, "a handler panicked");
            }
        };
        Box::pin(guarded.instrument(span))
    }
}

fn admit(context: &Context, info: &Info) -> Result<(), Reject> {
    match info.access {
        Access::Anyone => {}
        Access::Visitor => _ = context.asker()?,
        Access::User => _ = context.identity()?,
    }
    match info.rate {
        Rate::Free | Rate::Kind => Ok(()),
        Rate::Query => context.draw(Draw::Query),
        Rate::Change => context.draw(Draw::Change),
    }
}

fn internal(trace_id: u64, operation: &str, error: &(dyn std::error::Error + Send + Sync)) -> Reject {
    tracing::error!(operation, trace_id = format_args!("{trace_id:x}"), %error, "internal error");
    Reject { trace_id: Some(trace_id), ..Code::Internal.into() }
}

#[cfg(test)]
mod tests {

    use quail_protocol::{
        Timestamp,
        frame::{Decoder, Head, Outcome},
        session::{Logout, Ping, Pong},
    };

    use super::*;
    use crate::{
        context::Shared,
        session::{
            Session,
            outbox::{self, Attachment},
        },
    };

    fn context(request_timeout: std::time::Duration) -> Context {
        let mut shared = Shared::empty(Timestamp(1));
        shared.session.request_timeout = request_timeout;
        Context { session: Arc::new(Session::new(outbox::Config::default())), shared: Arc::new(shared) }
    }

    /// What a ping is answered by a server whose only handler is `router`'s.
    async fn answer(router: Router, context: Context) -> Outcome {
        router.serve(context.clone(), 1, Ping::INFO.opcode, Bytes::new()).await;
        let batch =
            context.session.outbox.take(Attachment::default(), Lane::Control, 1024).expect("an answer");
        assert_eq!(batch.replies, 1);
        let mut decoder = Decoder::new(1024);
        decoder.extend(&batch.bytes);
        let Some(Head::Reply { request_id: 1, outcome }) =
            decoder.next_frame().unwrap().map(|frame| frame.head)
        else {
            panic!("not a reply")
        };
        outcome
    }

    fn code(outcome: Outcome) -> Code {
        let Outcome::Reject(reject) = outcome else { panic!("served") };
        reject.code
    }

    const SECOND: std::time::Duration = std::time::Duration::from_secs(1);

    #[tokio::test]
    async fn a_handler_that_panics_answers_internal_and_only_once() {
        let router =
            Router::default().on(async |_: Context, _: Ping| -> Result<Pong, Failure> { panic!("oh") });
        assert_eq!(code(answer(router, context(SECOND)).await), Code::Internal);
    }

    #[tokio::test]
    async fn a_handler_that_fails_answers_internal_with_the_name_of_its_log_line() {
        let fails =
            async |_: Context, _: Ping| -> Result<Pong, Failure> { Err(StoreError::new("broken").into()) };
        let Outcome::Reject(reject) = answer(Router::default().on(fails), context(SECOND)).await else {
            panic!("served")
        };
        assert_eq!(reject.code, Code::Internal);
        assert!(reject.trace_id.is_some_and(|trace| trace < 1 << 53));
    }

    #[tokio::test]
    async fn a_handler_that_never_ends_is_given_up() {
        let router = Router::default().on(async |_: Context, _: Ping| std::future::pending().await);
        let soon = std::time::Duration::from_millis(10);
        assert_eq!(code(answer(router, context(soon)).await), Code::TimedOut);
    }

    #[tokio::test]
    async fn a_responder_that_is_dropped_answers_internal() {
        let drops = async |_: Context, _: Ping, responder: Responder<Ping>| drop(responder);
        assert_eq!(code(answer(Router::default().on_deferred(drops), context(SECOND)).await), Code::Internal);
    }

    #[test]
    fn an_operation_nobody_serves_is_named() {
        let router = Router::default().on(async |_: Context, _: Ping| -> Result<Pong, Failure> { panic!() });
        let missing = router.missing();
        assert!(missing.contains(&Logout::INFO.name) && !missing.contains(&Ping::INFO.name));
    }
}
