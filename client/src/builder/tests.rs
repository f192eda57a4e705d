use super::*;
use rand::{SeedableRng, rngs::StdRng};

use crate::error::ConnectError;

async fn refused(builder: Builder) -> ConnectError {
    builder.connect().await.unwrap_err()
}

#[tokio::test]
async fn a_builder_that_lacks_or_mistakes_something_never_reaches_the_network() {
    let complete = Builder::new("nowhere".into()).app("demo").user("alice").token("t");
    let missing = |field| ConnectError::Missing(field).to_string();
    assert_eq!(refused(Builder::new("h:1".into())).await.to_string(), missing("app"));
    assert_eq!(refused(Builder::new("h:1".into()).app("demo")).await.to_string(), missing("user"));
    assert_eq!(refused(Builder::new("h:1".into()).app("demo").user("a")).await.to_string(), missing("token"));
    assert!(matches!(
        refused(complete.clone().user("a b")).await,
        ConnectError::InvalidId { field: "user", .. }
    ));
    assert!(matches!(
        refused(complete.clone().name("x".repeat(257))).await,
        ConnectError::TooLong { field: "name", .. }
    ));
    assert!(matches!(
        refused(complete.clone().token_with(|| async { Err(TokenError::new("none")) })).await,
        ConnectError::Token(_)
    ));
    assert!(matches!(refused(complete.clone()).await, ConnectError::Address(_)));
    let url = "https://example.org/ws".to_owned();
    assert!(matches!(
        refused(complete.carrier(CarrierKind::WebSocket { url })).await,
        ConnectError::Address(_)
    ));
}

#[tokio::test]
async fn what_a_visitor_would_log_in_with_is_checked_before_there_is_a_connection() {
    let visitor = Builder::new("h:1".into()).app("demo").visitor().name("n".repeat(257));
    assert!(matches!(refused(visitor).await, ConnectError::TooLong { field: "name", .. }));
}

#[test]
fn a_seed_repeats_the_device_and_without_one_it_differs() {
    let builder = Builder::new("h:1".into()).app("demo").user("alice");
    let device = |seed: u8| builder.device_id(&mut StdRng::from_seed([seed; 32]), None).unwrap();
    assert_eq!(device(1), device(1));
    assert_ne!(device(1), device(2));
}

#[test]
fn a_builder_prints_no_token() {
    assert!(!format!("{:?}", Builder::new("h:1".into()).token("secret")).contains("secret"));
}
