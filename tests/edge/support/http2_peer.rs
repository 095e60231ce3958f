//! Either end of an HTTP/2 connection, with every frame in the hands of the test: it keeps the
//! rules only where the test asks it to, and records all that comes, byte for byte.

use std::collections::{BTreeMap, VecDeque};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM,
    SETTINGS, WINDOW_UPDATE, block, frame,
};
use super::hpack::{Decoder, Field};

/// Longer than anything that a test waits for.
const PATIENCE: Duration = Duration::from_secs(20);
/// What a window begins with (RFC 9113 section 6.9.2).
const WINDOW: i64 = 65_535;
const MAX_FRAME: usize = 16_384;

pub const MAX_CONCURRENT_STREAMS: u16 = 3;
pub const INITIAL_WINDOW_SIZE: u16 = 4;
pub const MAX_HEADER_LIST_SIZE: u16 = 6;

pub const NO_ERROR: u32 = 0;
pub const INTERNAL_ERROR: u32 = 2;
pub const REFUSED_STREAM: u32 = 7;
pub const CANCEL: u32 = 8;

/// One end of a connection; the last handle closes it.
#[derive(Clone)]
pub struct Peer(Arc<Shared>);

struct Shared {
    writer: Mutex<TcpStream>,
    state: Mutex<State>,
    changed: Condvar,
}

/// What came on a connection so far.
#[derive(Debug, Default)]
pub struct State {
    pub streams: BTreeMap<u32, Stream>,
    /// Streams that the other end has opened and that nobody has accepted yet.
    opened: VecDeque<u32>,
    /// The settings in the order in which they came.
    pub settings: Vec<(u16, u32)>,
    /// The last stream and the error code of every `GOAWAY`.
    pub go_aways: Vec<(u32, u32)>,
    pub pings: usize,
    pub pongs: usize,
    /// Whether nothing more comes.
    pub closed: bool,
    window: i64,
    initial_window: i64,
    next_stream: u32,
}

/// What came on a stream so far.
#[derive(Debug, Clone, Default)]
pub struct Stream {
    /// Interim heads, the head, and trailers.
    pub heads: Vec<Vec<Field>>,
    /// What was not taken yet.
    pub body: Vec<u8>,
    /// Whether `END_STREAM` has come.
    pub ended: bool,
    /// The code of the `RST_STREAM` that has come.
    pub reset: Option<u32>,
    /// Streams of a client whose window was changed before they had any.
    window: i64,
}

/// The stream, or its connection, takes nothing more.
#[derive(Debug)]
pub struct Gone;

impl Peer {
    /// The client's end, after its preface.
    pub fn connect(port: u16) -> Self {
        Self::connect_with(port, &[])
    }

    pub fn connect_with(port: u16, settings: &[(u16, u32)]) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        let peer = Self::over(stream);
        let preface = [PREFACE, &settings_frame(settings), &connection_window()].concat();
        peer.write(&preface);
        peer
    }

    /// The server's end of a connection whose client begins with the preface; `None`: it does not.
    pub fn accept(mut stream: TcpStream, settings: &[(u16, u32)]) -> Option<Self> {
        let mut preface = [0; PREFACE.len()];
        stream.read_exact(&mut preface).ok()?;
        if preface != *PREFACE {
            return None;
        }
        let peer = Self::over(stream);
        peer.write(&[settings_frame(settings), connection_window()].concat());
        Some(peer)
    }

    /// Reads from now on; says nothing of its own.
    fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("no delay");
        let reader = stream.try_clone().expect("another handle");
        let state =
            State { window: WINDOW, initial_window: WINDOW, next_stream: 1, ..State::default() };
        let shared = Arc::new(Shared {
            writer: Mutex::new(stream),
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let weak = Arc::downgrade(&shared);
        thread::spawn(move || read(reader, &weak));
        Self(shared)
    }

    /// Writes bytes as they are.
    pub fn write(&self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    /// Opens a stream with these fields; its number.
    pub fn open(&self, fields: &[Field], end: bool) -> u32 {
        // Numbers must go out in their order.
        let mut writer = self.0.writer.lock().unwrap();
        let mut state = self.0.state.lock().unwrap();
        let number = state.next_stream;
        state.next_stream += 2;
        state.stream(number);
        drop(state);
        let _ = writer.write_all(&head_frames(number, fields, end));
        number
    }

    /// Sends a head, an interim one or trailers on a stream.
    pub fn head(&self, stream: u32, fields: &[Field], end: bool) {
        self.write(&head_frames(stream, fields, end));
    }

    /// Sends all of a body as fast as the other end's windows open.
    pub fn data(&self, stream: u32, mut bytes: &[u8], end: bool) -> Result<(), Gone> {
        if bytes.is_empty() && end {
            self.write(&frame(DATA, END_STREAM, stream, b""));
        }
        while !bytes.is_empty() {
            let room = self.wait(|state| {
                if state.closed || state.stream(stream).reset.is_some() {
                    return Some(Err(Gone));
                }
                let room = state.window.min(state.stream(stream).window);
                let room = usize::try_from(room).ok().filter(|room| *room > 0)?;
                let taken = room.min(bytes.len()).min(MAX_FRAME);
                state.window -= taken as i64;
                state.stream(stream).window -= taken as i64;
                Some(Ok(taken))
            });
            let (part, rest) = bytes.split_at(room.unwrap_or(Err(Gone))?);
            bytes = rest;
            let flags = if end && bytes.is_empty() { END_STREAM } else { 0 };
            self.write(&frame(DATA, flags, stream, part));
        }
        Ok(())
    }

    pub fn reset(&self, stream: u32, code: u32) {
        self.write(&frame(RST_STREAM, 0, stream, &code.to_be_bytes()));
    }

    pub fn go_away(&self, last: u32, code: u32) {
        self.write(&frame(GOAWAY, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat()));
    }

    pub fn settings(&self, settings: &[(u16, u32)]) {
        self.write(&settings_frame(settings));
    }

    pub fn ping(&self) {
        self.write(&frame(PING, 0, 0, b"12345678"));
    }

    /// Ends the connection in good order.
    pub fn close(&self) {
        let _ = self.0.writer.lock().unwrap().shutdown(Shutdown::Both);
    }

    /// The next stream that the other end has opened; `None` at the connection's end.
    pub fn next_opened(&self) -> Option<u32> {
        self.wait_for(Duration::from_secs(600), |state| match state.opened.pop_front() {
            Some(number) => Some(Some(number)),
            None => state.closed.then_some(None),
        })?
    }

    /// The head of that number on a stream; `None`: the stream has ended before.
    pub fn nth_head(&self, stream: u32, number: usize) -> Option<Vec<Field>> {
        self.wait(|state| {
            let closed = state.closed;
            let stream = state.stream(stream);
            match stream.heads.get(number) {
                Some(head) => Some(Some(head.clone())),
                None => stream.is_over(closed).then_some(None),
            }
        })?
    }

    /// What came next of a body, whose room is given back; `None` at its end, of whatever kind.
    pub fn take(&self, stream: u32) -> Option<Vec<u8>> {
        let (part, goes_on) = self.wait(|state| {
            let closed = state.closed;
            let stream = state.stream(stream);
            match stream.body.is_empty() {
                false => Some((std::mem::take(&mut stream.body), !stream.is_over(closed))),
                true => stream.is_over(closed).then_some((Vec::new(), false)),
            }
        })?;
        if goes_on {
            self.release(stream, part.len());
        }
        (!part.is_empty()).then_some(part)
    }

    /// All of a body from here on, however it ends.
    pub fn take_all(&self, stream: u32) -> Vec<u8> {
        let mut body = Vec::new();
        while let Some(part) = self.take(stream) {
            body.extend(part);
        }
        body
    }

    /// Opens a stream's window by so much.
    pub fn release(&self, stream: u32, length: usize) {
        if length > 0 {
            let length = u32::try_from(length).expect("less than a window");
            self.write(&frame(WINDOW_UPDATE, 0, stream, &length.to_be_bytes()));
        }
    }

    /// Waits until the stream is over; what came on it.
    pub fn until_over(&self, stream: u32) -> Stream {
        self.wait(|state| {
            let closed = state.closed;
            state.stream(stream).is_over(closed).then_some(())
        });
        self.stream(stream)
    }

    /// What came on a stream so far.
    pub fn stream(&self, stream: u32) -> Stream {
        self.0.state.lock().unwrap().stream(stream).clone()
    }

    pub fn is_closed(&self) -> bool {
        self.0.state.lock().unwrap().closed
    }

    /// Looks at what came so far.
    pub fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.0.state.lock().unwrap())
    }

    /// Forgets a stream, so that many of them take no room.
    pub fn forget(&self, stream: u32) {
        self.0.state.lock().unwrap().streams.remove(&stream);
    }

    /// Waits until there is an answer; `None` when there is none in time.
    pub fn wait<T>(&self, probe: impl FnMut(&mut State) -> Option<T>) -> Option<T> {
        self.wait_for(PATIENCE, probe)
    }

    pub fn wait_for<T>(
        &self,
        patience: Duration,
        mut probe: impl FnMut(&mut State) -> Option<T>,
    ) -> Option<T> {
        let deadline = Instant::now() + patience;
        let mut state = self.0.state.lock().unwrap();
        loop {
            if let Some(answer) = probe(&mut state) {
                return Some(answer);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            state = self.0.changed.wait_timeout(state, left).unwrap().0;
        }
    }
}

impl Shared {
    fn write(&self, bytes: &[u8]) {
        let _ = self.writer.lock().unwrap().write_all(bytes);
    }

    fn frame(&self, kind: u8, flags: u8, number: u32, payload: &[u8]) {
        let mut state = self.state.lock().unwrap();
        let word = |at: usize| {
            payload
                .get(at..at + 4)
                .map_or(0, |word| u32::from_be_bytes([word[0], word[1], word[2], word[3]]))
        };
        let reply = match kind {
            SETTINGS if flags & ACK == 0 => {
                for setting in payload.chunks_exact(6) {
                    let name = u16::from_be_bytes([setting[0], setting[1]]);
                    let value =
                        u32::from_be_bytes([setting[2], setting[3], setting[4], setting[5]]);
                    state.settings.push((name, value));
                    if name == INITIAL_WINDOW_SIZE {
                        let change = i64::from(value) - state.initial_window;
                        state.initial_window = i64::from(value);
                        for stream in state.streams.values_mut() {
                            stream.window += change;
                        }
                    }
                }
                frame(SETTINGS, ACK, 0, b"")
            }
            PING if flags & ACK == 0 => {
                state.pings += 1;
                frame(PING, ACK, 0, payload)
            }
            PING => {
                state.pongs += 1;
                return;
            }
            GOAWAY => {
                state.go_aways.push((word(0), word(4)));
                return;
            }
            WINDOW_UPDATE if number == 0 => {
                state.window += i64::from(word(0));
                return;
            }
            WINDOW_UPDATE => {
                state.stream(number).window += i64::from(word(0));
                return;
            }
            RST_STREAM => {
                state.stream(number).reset = Some(word(0));
                return;
            }
            DATA => {
                let stream = state.stream(number);
                stream.body.extend_from_slice(payload);
                stream.ended |= flags & END_STREAM != 0;
                // The connection's room is given back at once: only streams hold anything up.
                let length = u32::try_from(payload.len()).expect("a frame's length");
                match length {
                    0 => return,
                    _ => frame(WINDOW_UPDATE, 0, 0, &length.to_be_bytes()),
                }
            }
            _ => return,
        };
        drop(state);
        self.write(&reply);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let _ = self.writer.lock().unwrap().shutdown(Shutdown::Both);
    }
}

impl State {
    pub fn stream(&mut self, number: u32) -> &mut Stream {
        let window = self.initial_window;
        self.streams.entry(number).or_insert_with(|| Stream { window, ..Stream::default() })
    }
}

impl Stream {
    fn is_over(&self, closed: bool) -> bool {
        self.ended || self.reset.is_some() || closed
    }
}

/// Reads frames until the connection or its last handle ends.
fn read(mut stream: TcpStream, shared: &Weak<Shared>) {
    let mut decoder = Decoder::default();
    let mut block = Vec::new();
    let mut end_stream = false;
    loop {
        let mut head = [0; 9];
        let read = stream.read_exact(&mut head).and_then(|()| {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let mut payload = vec![0; length];
            stream.read_exact(&mut payload).map(|()| payload)
        });
        let Some(shared) = shared.upgrade() else { return };
        let Ok(payload) = read else {
            shared.state.lock().unwrap().closed = true;
            return shared.changed.notify_all();
        };
        let (kind, flags) = (head[3], head[4]);
        let number = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
        if !matches!(kind, HEADERS | CONTINUATION) {
            shared.frame(kind, flags, number, &payload);
            shared.changed.notify_all();
            continue;
        }
        if kind == HEADERS {
            block.clear();
            end_stream = flags & END_STREAM != 0;
        }
        block.extend_from_slice(&payload);
        if flags & END_HEADERS != 0 {
            let fields = decoder.decode(&block).expect("a header block");
            let mut state = shared.state.lock().unwrap();
            let is_new = !state.streams.contains_key(&number);
            let stream = state.stream(number);
            stream.heads.push(fields);
            stream.ended |= end_stream;
            if is_new {
                state.opened.push_back(number);
            }
            drop(state);
            shared.changed.notify_all();
        }
    }
}

/// Fields from texts.
pub fn fields(fields: &[(&str, &str)]) -> Vec<Field> {
    fields.iter().map(|(name, value)| (name.as_bytes().into(), value.as_bytes().into())).collect()
}

/// The only value of a field; `None`: there is none, or more than one.
pub fn field<'a>(fields: &'a [Field], name: &str) -> Option<&'a [u8]> {
    let mut values =
        fields.iter().filter(|field| field.0 == name.as_bytes()).map(|field| &field.1[..]);
    values.next().filter(|_| values.next().is_none())
}

fn settings_frame(settings: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> = settings
        .iter()
        .flat_map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat())
        .collect();
    frame(SETTINGS, 0, 0, &payload)
}

/// Room for more than any test sends: only windows of streams hold anything up.
fn connection_window() -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, 0, &(1u32 << 30).to_be_bytes())
}

pub fn head_frames(stream: u32, fields: &[Field], end: bool) -> Vec<u8> {
    let fields: Vec<(&[u8], &[u8])> =
        fields.iter().map(|(name, value)| (&name[..], &value[..])).collect();
    let block = block(&fields);
    let parts: Vec<&[u8]> = block.chunks(MAX_FRAME).collect();
    let last = parts.len().saturating_sub(1);
    let frames = parts.iter().enumerate().map(|(number, part)| {
        let kind = if number == 0 { HEADERS } else { CONTINUATION };
        let end_stream = if end && number == 0 { END_STREAM } else { 0 };
        let end_headers = if number == last { END_HEADERS } else { 0 };
        frame(kind, end_stream | end_headers, stream, part)
    });
    frames.collect::<Vec<_>>().concat()
}
