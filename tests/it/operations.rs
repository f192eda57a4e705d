//! What holds for every operation, taken from the protocol's tables.

use quail_protocol::{
    Access, Code, Opcode,
    frame::{self, Head},
    operations,
};
use quail_tests::{
    Carrier, FAST, Town,
    raw::{Raw, visit},
};

#[tokio::test]
async fn before_login_only_what_anyone_may_ask_is_served() {
    let town = Town::new().await;
    for carrier in Carrier::ALL {
        for info in operations() {
            let mut raw = Raw::connect(&town, carrier).await;
            let head = Head::Request { request_id: 1, opcode: info.opcode };
            raw.send(&frame::encode_raw(&head, b"\xff\xff")).await;
            // A body that cannot be read shows how far the request came.
            let expected = match info.access {
                Access::Anyone => Code::Malformed,
                Access::User | Access::Visitor => Code::NotLoggedIn,
            };
            assert_eq!(raw.refusal(1).await, expected, "{}", info.name);
        }
    }
}

#[tokio::test]
async fn a_visitor_is_served_only_what_visitors_may_ask() {
    let town = Town::new().await;
    for carrier in Carrier::ALL {
        let mut raw = Raw::connect(&town, carrier).await;
        raw.request(1, &visit(FAST)).await;
        raw.reply(1).await.expect("visiting");
        // A login that is refused three times ends the connection.
        let others = operations().filter(|info| !info.name.starts_with("session."));
        for (info, request_id) in others.zip(2..) {
            let head = Head::Request { request_id, opcode: info.opcode };
            raw.send(&frame::encode_raw(&head, b"\xff\xff")).await;
            let expected = match info.access {
                Access::Anyone | Access::Visitor => Code::Malformed,
                Access::User => Code::NotLoggedIn,
            };
            assert_eq!(raw.refusal(request_id).await, expected, "{}", info.name);
        }
    }
}

#[tokio::test]
async fn a_body_that_is_not_the_operation_is_malformed_and_the_session_lives_on() {
    let town = Town::new().await;
    for carrier in Carrier::ALL {
        let mut raw = Raw::log_in(&town, carrier, FAST, "alice").await;
        let mut request_id = 1;
        for info in operations() {
            request_id += 1;
            let head = Head::Request { request_id, opcode: info.opcode };
            raw.send(&frame::encode_raw(&head, b"\xff\xff")).await;
            assert_eq!(raw.refusal(request_id).await, Code::Malformed, "{}", info.name);
        }
    }
}

#[tokio::test]
async fn an_opcode_nobody_knows_is_refused_before_and_after_login() {
    let town = Town::new().await;
    for carrier in Carrier::ALL {
        let unknown = |request_id| frame::encode(&Head::Request { request_id, opcode: Opcode(0xffff) }, &());
        let mut stranger = Raw::connect(&town, carrier).await;
        stranger.send(&unknown(1)).await;
        assert_eq!(stranger.refusal(1).await, Code::UnknownOperation);
        let mut user = Raw::log_in(&town, carrier, FAST, "alice").await;
        user.send(&unknown(2)).await;
        assert_eq!(user.refusal(2).await, Code::UnknownOperation);
    }
}
