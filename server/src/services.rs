//! Handlers. They orchestrate; rules are in [`crate::domain`].

pub mod conversation;
pub mod message;
pub mod session;
pub mod user;

use crate::router::Router;

/// Every route of the server.
pub fn routes() -> Router {
    [session::routes, user::routes, conversation::routes, message::routes]
        .into_iter()
        .fold(Router::default(), |router, add| add(router))
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_operation_is_served() {
        assert_eq!(super::routes().missing(), Vec::<&str>::new());
    }
}
