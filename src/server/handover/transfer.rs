//! Sockets on their way from one process to the next, over a connected Unix socket.
//!
//! One message: a first line with the version of the format, the addresses, one a line, and an
//! empty line; the sockets ride along in the same order. Version 2 has a line for each drained
//! upstream before the empty one: a pair of backend and origin in JSON.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// Without drained upstreams, so that an earlier release can take over where there are none.
const VERSION_1: &str = "harmony-edge listeners 1";
const VERSION_2: &str = "harmony-edge listeners 2";
/// What the line of a drained upstream begins with; no address does.
const DRAINED: &str = "drained ";
/// The kernel takes no more in one message.
const MOST: usize = 253;
const LONGEST: usize = 1024 * 1024;

/// Backend and origin of an upstream that gets no new requests.
pub(crate) type DrainedUpstream = (String, String);

/// Sends sockets with their addresses, and the drained upstreams.
pub(super) fn send(
    stream: &UnixStream,
    sockets: &[(String, OwnedFd)],
    drained: &[DrainedUpstream],
) -> io::Result<()> {
    let version = if drained.is_empty() {
        VERSION_1
    } else {
        VERSION_2
    };
    let mut text = format!("{version}\n");
    for (address, _) in sockets {
        text += address;
        text += "\n";
    }
    for upstream in drained {
        text += DRAINED;
        text += &serde_json::to_string(upstream)?;
        text += "\n";
    }
    text += "\n";
    let fds: Vec<BorrowedFd<'_>> = sockets.iter().map(|(_, fd)| fd.as_fd()).collect();
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if fds.len() > MOST || !control.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(io::Error::other(format!("more than {MOST} listeners")));
    }
    let slices = [IoSlice::new(text.as_bytes())];
    let sent = sendmsg(stream, &slices, &mut control, SendFlags::NOSIGNAL)?;
    // The sockets are with the first byte; whatever is left is only text.
    io::Write::write_all(&mut &*stream, &text.as_bytes()[sent..])
}

/// What the old process sent.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) sockets: Vec<(String, OwnedFd)>,
    pub(super) drained: Vec<DrainedUpstream>,
}

/// Receives what [`send`] sent.
pub(super) fn receive(stream: &UnixStream) -> io::Result<Received> {
    let (mut text, mut fds) = (Vec::new(), Vec::new());
    while !text.ends_with(b"\n\n") && text.len() < LONGEST {
        let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut buffer = [0; 4096];
        let mut slices = [IoSliceMut::new(&mut buffer)];
        let read = recvmsg(stream, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC)?.bytes;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                fds.extend(received);
            }
        }
        if read == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        text.extend_from_slice(&buffer[..read]);
    }
    let invalid = |what: &str| io::Error::new(ErrorKind::InvalidData, what.to_owned());
    let text = String::from_utf8(text).map_err(|_| invalid("not a list of listeners"))?;
    let mut lines = text.trim_end().lines();
    if !lines
        .next()
        .is_some_and(|it| [VERSION_1, VERSION_2].contains(&it))
    {
        return Err(invalid("the other process speaks another version"));
    }
    let (mut addresses, mut drained) = (Vec::new(), Vec::new());
    for line in lines {
        match line.strip_prefix(DRAINED) {
            Some(upstream) => drained.push(serde_json::from_str(upstream)?),
            None => addresses.push(line.to_owned()),
        }
    }
    if addresses.len() != fds.len() {
        return Err(invalid("not one socket for each address"));
    }
    Ok(Received {
        sockets: addresses.into_iter().zip(fds).collect(),
        drained,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::TcpListener;

    #[test]
    fn sockets_arrive_with_their_addresses() {
        let (one, other) = UnixStream::pair().unwrap();
        let listeners: Vec<TcpListener> = (0..40)
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        let sockets: Vec<(String, OwnedFd)> = listeners
            .into_iter()
            .map(|listener| (listener.local_addr().unwrap().to_string(), listener.into()))
            .collect();
        let drained = [("a b\n".to_owned(), "http://127.0.0.1:1".to_owned())];
        send(&one, &sockets, &drained).unwrap();
        let received = receive(&other).unwrap();
        assert_eq!(
            (received.sockets.len(), &received.drained[..]),
            (40, &drained[..])
        );
        for (address, fd) in received.sockets {
            assert_eq!(
                TcpListener::from(fd).local_addr().unwrap().to_string(),
                address
            );
        }
    }

    #[test]
    fn an_earlier_release_understands_it_where_nothing_is_drained() {
        let (one, mut other) = UnixStream::pair().unwrap();
        send(&one, &[], &[]).unwrap();
        drop(one);
        let mut text = String::new();
        io::Read::read_to_string(&mut other, &mut text).unwrap();
        assert_eq!(text, "harmony-edge listeners 1\n\n");
    }

    #[test]
    fn anything_else_is_an_error() {
        for text in [
            "harmony-edge listeners 3\na\n\n",
            "harmony-edge listeners 1\na\n\n",
            "harmony-edge listeners 2\ndrained x\n\n",
            "\n\n",
            "x",
        ] {
            let (mut one, other) = UnixStream::pair().unwrap();
            one.write_all(text.as_bytes()).unwrap();
            drop(one);
            assert!(receive(&other).is_err(), "{text:?}");
        }
    }
}
