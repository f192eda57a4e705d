//! The UDP socket that a server listens on.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
};

/// Binds the socket; the unspecified IPv6 address takes IPv4 too, and gives way to IPv4 where there is no IPv6.
pub(super) fn bind(listen: SocketAddr) -> io::Result<UdpSocket> {
    match bind_exactly(listen) {
        Err(error) if is_no_ipv6(&error) && listen.ip().is_unspecified() => {
            bind_exactly(SocketAddr::from(([0; 4], listen.port())))
        }
        bound => bound,
    }
}

/// True if an error says that the machine has no IPv6.
pub(crate) fn is_no_ipv6(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::AddrNotAvailable)
        || error.raw_os_error() == Some(97) // EAFNOSUPPORT has no kind of its own.
}

/// Gives a socket that many connections share the room of many, 4 MiB each way: in that of one their packets are lost.
pub fn make_room<'a>(socket: impl Into<socket2::SockRef<'a>>) {
    let socket = socket.into();
    for set in [socket2::Socket::set_recv_buffer_size, socket2::Socket::set_send_buffer_size] {
        // The kernel caps it without an error; a refusal costs speed only.
        _ = set(&socket, 4 * 1024 * 1024);
    }
}

fn bind_exactly(listen: SocketAddr) -> io::Result<UdpSocket> {
    let domain = socket2::Domain::for_address(listen);
    let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, Some(socket2::Protocol::UDP))?;
    if listen.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    make_room(&socket);
    socket.bind(&listen.into())?;
    Ok(socket.into())
}
