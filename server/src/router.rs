//! From an opcode to its handler: access, rate, span, decoding, panics, timeouts, metrics, all written once.
//!
//! The router knows no domain: routes are handed in.

use std::{collections::BTreeMap, future::Future, panic::AssertUnwindSafe, pin::Pin, sync::Arc};

use bytes::Bytes;
use futures_util::FutureExt;
use quail_protocol::{Access, Code, Info, Lane, Opcode, Operation, Rate, Reject, frame};
use tracing::Instrument;

use crate::{
    context::Context,
    hub::Draw,
    respond::{Ask, Responder},
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

struct Route {
    info: Info,
    serve: Serve,
}

/// See the module.
#[derive(Default)]
pub struct Router {
    routes: BTreeMap<Opcode, Route>,
}

impl Router {
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
                    Ok(Err(Failure::Reject(reject))) => Err(reject),
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
                    ask.lane = operation.lane();
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
            request_id,
            lane: Lane::Control,
            arrived: shared.clock.now(),
        };
        let Some(route) = route else {
            ask.reject(Code::UnknownOperation.into());
            return Box::pin(std::future::ready(()));
        };
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
    if info.access == Access::User {
        context.identity()?;
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
