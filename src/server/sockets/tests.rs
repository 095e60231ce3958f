//! Which inherited socket goes to which network.

use super::*;

fn network(name: &str, address: &str) -> Network {
    let bind = Bind::Tcp(address.parse().unwrap());
    let name = name.into();
    Network {
        name,
        bind,
        tls: None,
        max_connections: None,
        max_connections_per_address: 0,
        min_body_rate: 0,
        proxy_protocol: false,
        https_port: None,
    }
}

fn inherited(name: Option<&str>) -> (InheritedSocket, String) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let inherited = InheritedSocket::tcp(socket, name.map(str::to_owned)).unwrap();
    (inherited, address)
}

#[test]
fn an_inherited_socket_goes_to_the_network_with_its_address() {
    let (socket, address) = inherited(Some("other"));
    let sockets = Sockets::open(&[network("public", &address)], vec![socket]).unwrap();
    assert_eq!(sockets.copies().unwrap()[0].0, address);
}

#[test]
fn a_name_without_its_address_is_an_error() {
    let (socket, address) = inherited(Some("public"));
    let error = Sockets::open(&[network("public", "127.0.0.1:1")], vec![socket]).unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("network.public: ") && text.contains(&address),
        "{text}"
    );
}

#[test]
fn what_no_network_names_is_closed() {
    let (socket, address) = inherited(None);
    Sockets::open(&[], vec![socket]).unwrap();
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn every_address_is_the_same_in_both_families() {
    let socket = |address: &str| InheritedSocket {
        bind: Bind::Tcp(address.parse().unwrap()),
        name: None,
        fd: inherited(None).0.fd,
    };
    assert!(socket("[::]:443").is_for(&network("n", "0.0.0.0:443")));
    assert!(!socket("[::]:443").is_for(&network("n", "0.0.0.0:80")));
    assert!(!socket("[::]:443").is_for(&network("n", "127.0.0.1:443")));
}
