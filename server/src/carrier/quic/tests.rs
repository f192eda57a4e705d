use quinn_proto::ConnectionIdGenerator;

use super::*;

#[test]
fn a_window_without_bound_is_the_largest_there_is() {
    let config = Config { stream_receive_window: ByteSize(u64::MAX), ..Config::default() };
    let largest = format!("receive_window: {}", VarInt::MAX);
    assert!(format!("{:?}", transport(&config)).contains(&largest));
}

#[tokio::test]
async fn a_server_that_was_killed_lets_each_of_its_clients_know_and_not_only_some() {
    const CLIENTS: usize = 50;
    let (key, listen) = (hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]), SocketAddr::from(([127, 0, 0, 1], 0)));
    let bound = std::net::UdpSocket::bind(listen).unwrap();
    let successor =
        Endpoint::new(answering(key.clone()), None, bound, Arc::new(quinn::TokioRuntime)).unwrap();
    let socket = tokio::net::UdpSocket::bind(listen).await.unwrap();
    socket.connect(successor.local_addr().unwrap()).await.unwrap();
    // What clients of the server before send in one moment: short headers, and behind them what nobody can read any more.
    let ids = connection_ids(&key);
    let mut ids = HashedConnectionIdGenerator::from_key(ids);
    for _ in 0..CLIENTS {
        let id = ids.generate_cid();
        let packet = [&[0x40], &id[..], &[0x5a; 40]].concat();
        socket.send(&packet).await.unwrap();
    }
    let mut answer = [0; 100];
    let answers = async {
        for _ in 0..CLIENTS {
            socket.recv(&mut answer).await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(10), answers).await.expect("an answer for each");
}
