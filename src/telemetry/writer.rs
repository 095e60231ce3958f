//! The way of log lines out of the process: a bounded buffer that everybody fills and one thread
//! empties, so that a full pipe or a slow disk never holds up a request, and a busy second costs a
//! few writes rather than thousands.

use std::io::{self, Write};
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::log_file::{LogFile, LogFormat, Opener, Sink};

/// Bytes that wait at the most; lines beyond are dropped and counted.
const CAPACITY: usize = 2 * 1024 * 1024;
/// The part of it that lines take which anybody can cause in any number.
const FLOOD_CAPACITY: usize = CAPACITY / 2;

/// How long records that are not urgent gather before they are written.
const GATHER: Duration = Duration::from_millis(20);

/// How long a flush waits for a sink that does not take the lines: it keeps nobody from leaving.
const FLUSH: Duration = Duration::from_secs(1);

/// A handle of the buffer.
#[derive(Clone)]
pub struct LogWriter(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    dropped: AtomicU64,
}

/// What waits for the thread.
#[derive(Default)]
struct Queue {
    lines: Vec<u8>,
    /// What to do once this many bytes are written.
    commands: Vec<(usize, Command)>,
    /// Whether the thread sleeps until there is something.
    idle: bool,
    /// Whether it is not to gather any longer.
    urgent: bool,
}

enum Command {
    Flush(SyncSender<()>),
    Reopen,
}

impl LogWriter {
    /// Starts the thread that writes to `out`; it lives as long as the process. `format` is that of
    /// its lines. `reopen` makes another sink of the same name; without it, there is nothing to
    /// open anew.
    pub(super) fn start(out: Sink, format: LogFormat, reopen: Option<Opener>) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            wake: Condvar::new(),
            dropped: AtomicU64::new(0),
        });
        let mut file = LogFile::new(out, format, reopen);
        let writer = Self(shared.clone());
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || {
                let mut taken = Queue::default();
                loop {
                    shared.take(&mut taken);
                    taken.empty_into(&mut file, &shared.dropped);
                }
            })?;
        Ok(writer)
    }

    /// Adds a line that may wait for others, at most 20 ms.
    pub(super) fn gather(&self, line: &[u8]) {
        self.push(line, false, CAPACITY);
    }

    /// Adds a line that anybody can cause in any number: a flood of them leaves room for others.
    pub(super) fn gather_flood(&self, line: &[u8]) {
        self.push(line, false, FLOOD_CAPACITY);
    }

    fn push(&self, line: &[u8], urgent: bool, capacity: usize) {
        let mut queue = self.0.lock();
        if queue.lines.len() + line.len() > capacity {
            drop(queue);
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        queue.lines.extend_from_slice(line);
        let urgent = urgent || queue.lines.len() > CAPACITY / 4;
        self.0.wake(queue, urgent);
    }

    /// Waits until what is queued has been written, at most a second.
    pub fn flush(&self) {
        let (done, written) = sync_channel(1);
        self.command(Command::Flush(done));
        let _ = written.recv_timeout(FLUSH);
    }

    /// Opens the file anew, for one that was moved away. What cannot be opened is told on standard
    /// error, where the log then goes.
    pub fn reopen(&self) {
        self.command(Command::Reopen);
    }

    fn command(&self, command: Command) {
        let mut queue = self.0.lock();
        let place = queue.lines.len();
        queue.commands.push((place, command));
        self.0.wake(queue, true);
    }

    /// How many lines were dropped since the start, because the sink was slower than the log or
    /// could not be written.
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }
}

/// A whole record at a time, as `env_logger` writes them.
impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line, true, CAPACITY);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the thread, if it does not know already.
    fn wake(&self, mut queue: MutexGuard<'_, Queue>, urgent: bool) {
        let tell = queue.idle || (urgent && !queue.urgent);
        queue.idle = false;
        queue.urgent |= urgent;
        drop(queue);
        if tell {
            self.wake.notify_one();
        }
    }

    /// Waits for something, and for more of it unless it is urgent, and takes it all.
    fn take(&self, taken: &mut Queue) {
        let mut queue = self.lock();
        queue.idle = queue.lines.is_empty() && queue.commands.is_empty();
        let queue = self.wake.wait_while(queue, |queue| queue.idle);
        let queue = queue.unwrap_or_else(PoisonError::into_inner);
        let gathered = self
            .wake
            .wait_timeout_while(queue, GATHER, |queue| !queue.urgent);
        let (mut queue, _) = gathered.unwrap_or_else(PoisonError::into_inner);
        queue.urgent = false;
        mem::swap(&mut *queue, taken);
    }
}

impl Queue {
    /// Writes the lines, does the commands in between, and leaves the buffers empty for the
    /// next use.
    fn empty_into(&mut self, file: &mut LogFile, dropped: &AtomicU64) {
        let mut written = 0;
        for (place, command) in self.commands.drain(..) {
            file.write_lines(&self.lines[written..place], dropped);
            written = place;
            match command {
                Command::Flush(done) => {
                    file.flush();
                    let _ = done.try_send(());
                }
                Command::Reopen => file.open_anew(),
            }
        }
        file.write_lines(&self.lines[written..], dropped);
        self.lines.clear();
        file.report(dropped);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Instant;

    /// A line of which the buffer holds a few.
    const LONG: &[u8] = &[b'x'; CAPACITY / 8];

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

    fn start(sink: impl Write + Send + 'static) -> LogWriter {
        LogWriter::start(Box::new(sink), LogFormat::Json, None).unwrap()
    }

    /// The message of each record, and lines that are none as they are.
    fn messages(sink: &Kept) -> Vec<String> {
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        let message = |line: &str| {
            let record: serde_json::Value = serde_json::from_str(line).ok()?;
            assert_eq!(record["level"], "WARN");
            Some(record["message"].as_str()?.to_owned())
        };
        text.lines()
            .map(|line| message(line).unwrap_or_else(|| line.to_owned()))
            .collect()
    }

    #[test]
    fn lines_arrive_in_order() {
        let sink = Kept::default();
        let mut writer = start(sink.clone());
        writer.gather(b"one\n");
        writer.write_all(b"two\n").unwrap();
        writer.gather(b"three\n");
        LogWriter::flush(&writer);
        assert_eq!(*sink.0.lock().unwrap(), b"one\ntwo\nthree\n");
    }

    #[test]
    fn what_may_wait_is_written_by_itself() {
        let sink = Kept::default();
        let writer = start(sink.clone());
        for expected in [&b"one\n"[..], b"one\none\n"] {
            writer.gather(b"one\n");
            let begun = Instant::now();
            while *sink.0.lock().unwrap() != expected {
                assert!(begun.elapsed() < Duration::from_secs(30));
                thread::sleep(Duration::from_millis(1));
            }
        }
    }

    #[test]
    fn a_stuck_sink_costs_lines_and_says_so() {
        let (go, wait) = mpsc::channel();
        let sink = Kept::default();
        let writer = start(Stuck(wait, sink.clone()));
        // Twice what the buffer holds: one may be in the hands of the thread.
        for _ in 0..24 {
            writer.gather(LONG);
        }
        drop(go);
        LogWriter::flush(&writer);
        LogWriter::flush(&writer);
        let messages = messages(&sink);
        let told = |message: &String| message.contains("log records dropped");
        assert!(messages.iter().any(told), "{}", messages.len());
        assert!(writer.dropped() >= 8, "{}", writer.dropped());
    }

    #[test]
    fn a_flood_leaves_room_for_others() {
        let (go, wait) = mpsc::channel();
        let sink = Kept::default();
        let writer = start(Stuck(wait, sink.clone()));
        for _ in 0..24 {
            writer.gather_flood(b"flood\n");
            writer.gather_flood(LONG);
        }
        let dropped = writer.dropped();
        assert!(dropped >= 8, "{dropped}");
        writer.gather(b"\nanother\n");
        assert_eq!(writer.dropped(), dropped);
        drop(go);
        LogWriter::flush(&writer);
        LogWriter::flush(&writer);
        assert!(messages(&sink).contains(&"another".to_owned()));
    }

    #[test]
    fn a_stuck_sink_does_not_hold_up_a_flush() {
        let (_go, wait) = mpsc::channel();
        let writer = start(Stuck(wait, Kept::default()));
        for _ in 0..24 {
            writer.gather(LONG);
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
        let mut writer = start(sink.clone());
        *sink.0.lock().unwrap() = 6;
        for line in ["one\n", "two\n", "three\n"] {
            writer.write_all(line.as_bytes()).unwrap();
        }
        LogWriter::flush(&writer);
        *sink.0.lock().unwrap() = 1000;
        writer.write_all(b"four\n").unwrap();
        LogWriter::flush(&writer);
        assert_eq!(
            messages(&sink.1),
            [
                "one",
                "tw",
                "2 log records lost: the log could not be written",
                "four"
            ]
        );
        assert_eq!(writer.dropped(), 2);
    }

    #[test]
    fn a_sink_is_opened_anew() {
        let (first, second) = (Kept::default(), Kept::default());
        let next = second.clone();
        let reopen: Opener = Box::new(move || Ok(Box::new(next.clone())));
        let writer =
            LogWriter::start(Box::new(first.clone()), LogFormat::Text, Some(reopen)).unwrap();
        writer.gather(b"before\n");
        writer.reopen();
        writer.gather(b"after\n");
        LogWriter::flush(&writer);
        assert_eq!(*first.0.lock().unwrap(), b"before\n");
        assert_eq!(*second.0.lock().unwrap(), b"after\n");
    }
}
