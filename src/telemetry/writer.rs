//! The way of a log line out of the process: a bounded queue and one thread, so that a full pipe or a slow disk never holds up a request.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// Lines that wait at the most; those beyond are dropped and counted.
const QUEUE: usize = 8192;

/// How long a flush waits for a sink that does not take the lines: it keeps nobody from leaving.
const FLUSH: Duration = Duration::from_secs(1);

/// Where lines go.
pub(super) type Sink = Box<dyn Write + Send>;
/// Opens the sink anew.
pub(super) type Opener = Box<dyn Fn() -> io::Result<Sink> + Send>;

enum Message {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
    Reopen,
}

/// A handle of the queue.
#[derive(Clone)]
pub struct LogWriter {
    queue: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

impl LogWriter {
    /// Starts the thread that writes to `out`. `reopen` makes another sink of the same name; without it, there is nothing to open anew.
    pub(super) fn start(out: Sink, reopen: Option<Opener>) -> io::Result<Self> {
        let (queue, messages) = sync_channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let mut file = File {
            out,
            reopen,
            dropped: dropped.clone(),
            reported: 0,
            lost: 0,
            torn: false,
        };
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || {
                for message in messages {
                    file.take(message);
                }
            })?;
        Ok(Self { queue, dropped })
    }

    /// Waits until what is queued has been written, at most a second.
    pub fn flush(&self) {
        let (done, written) = sync_channel(1);
        let deadline = Instant::now() + FLUSH;
        let mut message = Message::Flush(done);
        while let Err(TrySendError::Full(again)) = self.queue.try_send(message) {
            if Instant::now() >= deadline {
                return;
            }
            message = again;
            thread::sleep(FLUSH / 100);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let _ = written.recv_timeout(left);
    }

    /// Opens the file anew, for one that was moved away. What cannot be opened is told on standard error, where the log then goes.
    pub fn reopen(&self) {
        // A full queue drops it like a line: whoever asked will see that the new file does not appear.
        let _ = self.queue.try_send(Message::Reopen);
    }

    /// How many lines were dropped since the start, because the sink was slower than the log or could not be written.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Err(TrySendError::Full(_)) = self.queue.try_send(Message::Line(line.to_vec())) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The sink in the hands of its thread. What goes wrong with it is told on standard error, once: that may be the same sink, and then nobody can be told.
struct File {
    out: Sink,
    reopen: Option<Opener>,
    dropped: Arc<AtomicU64>,
    reported: u64,
    /// Lines since the sink last took one.
    lost: u64,
    /// Whether the sink took the beginning of a line, and not its end.
    torn: bool,
}

impl File {
    fn take(&mut self, message: Message) {
        match message {
            Message::Line(line) => self.write(&line),
            Message::Flush(done) => {
                let _ = self.out.flush();
                let _ = done.try_send(());
            }
            Message::Reopen => self.open_anew(),
        }
        let dropped = self.dropped.load(Ordering::Relaxed);
        if dropped != self.reported {
            let count = dropped - self.reported;
            self.reported = dropped;
            let _ = writeln!(
                self.out,
                "{count} log records dropped: the log is written slower than it fills"
            );
        }
    }

    fn write(&mut self, line: &[u8]) {
        let result = match self.lost {
            0 => self.put(line),
            lost => self
                .put(format!("{lost} log records lost: the log could not be written\n").as_bytes())
                .and_then(|()| {
                    self.lost = 0;
                    eprint_line(&format!(
                        "the log is written again; {lost} records were lost"
                    ));
                    self.put(line)
                }),
        };
        if let Err(error) = result {
            if self.lost == 0 {
                eprint_line(&format!(
                    "the log cannot be written, its records are lost until it can: {error}"
                ));
            }
            self.lost += 1;
            self.dropped.fetch_add(1, Ordering::Relaxed);
            self.reported += 1;
        }
    }

    /// Writes a whole line, on a line of its own.
    fn put(&mut self, line: &[u8]) -> io::Result<()> {
        if self.torn {
            self.out.write_all(b"\n")?;
            self.torn = false;
        }
        let mut rest = line;
        while !rest.is_empty() {
            match self.out.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.torn = rest.len() < line.len();
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn open_anew(&mut self) {
        let Some(reopen) = &self.reopen else {
            return;
        };
        match reopen() {
            Ok(out) => {
                self.out = out;
                self.torn = false;
            }
            Err(error) => {
                self.out = Box::new(io::stderr());
                self.torn = false;
                let _ = writeln!(
                    self.out,
                    "the log file cannot be opened anew, the log goes on here: {error}"
                );
            }
        }
    }
}

/// For whoever keeps standard error, when the log itself cannot be written.
fn eprint_line(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Mutex, mpsc};

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Takes nothing until it is told to.
    struct Stuck(mpsc::Receiver<()>, Kept);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            self.1.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_arrive_in_order() {
        let sink = Kept::default();
        let mut writer = LogWriter::start(Box::new(sink.clone()), None).unwrap();
        for line in ["one\n", "two\n"] {
            writer.write_all(line.as_bytes()).unwrap();
        }
        LogWriter::flush(&writer);
        assert_eq!(*sink.0.lock().unwrap(), b"one\ntwo\n");
    }

    #[test]
    fn a_stuck_sink_costs_lines_and_says_so() {
        let (go, wait) = mpsc::channel();
        let sink = Kept::default();
        let mut writer = LogWriter::start(Box::new(Stuck(wait, sink.clone())), None).unwrap();
        for _ in 0..QUEUE + 10 {
            writer.write_all(b"x\n").unwrap();
        }
        drop(go);
        LogWriter::flush(&writer);
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        assert!(text.contains("log records dropped"), "{}", text.len());
        assert!(writer.dropped() >= 9, "{}", writer.dropped());
    }

    #[test]
    fn a_stuck_sink_does_not_hold_up_a_flush() {
        let (_go, wait) = mpsc::channel();
        let mut writer = LogWriter::start(Box::new(Stuck(wait, Kept::default())), None).unwrap();
        for _ in 0..QUEUE + 10 {
            writer.write_all(b"x\n").unwrap();
        }
        let started = Instant::now();
        LogWriter::flush(&writer);
        assert!(started.elapsed() < 10 * FLUSH);
    }

    /// Takes so many bytes, and then none until there is room again.
    #[derive(Clone, Default)]
    struct Full(Arc<Mutex<usize>>, Kept);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut room = self.0.lock().unwrap();
            let taken = bytes.len().min(*room);
            if taken == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            *room -= taken;
            self.1.write(&bytes[..taken])
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_a_full_sink_does_not_take_is_counted_and_told_when_there_is_room() {
        let sink = Full::default();
        let mut writer = LogWriter::start(Box::new(sink.clone()), None).unwrap();
        *sink.0.lock().unwrap() = 6;
        for line in ["one\n", "two\n", "three\n"] {
            writer.write_all(line.as_bytes()).unwrap();
        }
        LogWriter::flush(&writer);
        *sink.0.lock().unwrap() = 1000;
        writer.write_all(b"four\n").unwrap();
        LogWriter::flush(&writer);
        assert_eq!(
            String::from_utf8(sink.1.0.lock().unwrap().clone()).unwrap(),
            "one\ntw\n2 log records lost: the log could not be written\nfour\n"
        );
        assert_eq!(writer.dropped(), 2);
    }

    #[test]
    fn a_sink_is_opened_anew() {
        let (first, second) = (Kept::default(), Kept::default());
        let next = second.clone();
        let reopen: Opener = Box::new(move || Ok(Box::new(next.clone())));
        let mut writer = LogWriter::start(Box::new(first.clone()), Some(reopen)).unwrap();
        writer.write_all(b"before\n").unwrap();
        writer.reopen();
        writer.write_all(b"after\n").unwrap();
        LogWriter::flush(&writer);
        assert_eq!(*first.0.lock().unwrap(), b"before\n");
        assert_eq!(*second.0.lock().unwrap(), b"after\n");
    }
}
