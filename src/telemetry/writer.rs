//! The way of a log line out of the process: a bounded queue and one thread, so that a full pipe or a slow disk never holds up a request.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

/// Lines that wait at the most; those beyond are dropped and counted.
const QUEUE: usize = 8192;

enum Message {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
}

/// A handle of the queue.
#[derive(Clone)]
pub struct LogWriter {
    queue: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

impl LogWriter {
    /// Starts the thread that writes to `out`.
    pub fn start(out: Box<dyn Write + Send>) -> io::Result<Self> {
        let (queue, lines) = sync_channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let counter = dropped.clone();
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_all(out, &lines, &counter))?;
        Ok(Self { queue, dropped })
    }

    /// Records that found the queue full, since the process began.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until what is queued has been written, at most a second.
    pub fn flush(&self) {
        let (done, written) = sync_channel(1);
        if self.queue.send(Message::Flush(done)).is_ok() {
            // A sink that does not take the lines within a second keeps nobody from leaving.
            let _ = written.recv_timeout(Duration::from_secs(1));
        }
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

fn write_all(mut out: Box<dyn Write + Send>, messages: &Receiver<Message>, dropped: &AtomicU64) {
    let mut told = 0;
    // An error has nowhere to go: this is the log.
    for message in messages {
        match message {
            Message::Line(line) => {
                let _ = out.write_all(&line);
            }
            Message::Flush(done) => {
                let _ = out.flush();
                let _ = done.try_send(());
            }
        }
        let count = dropped.load(Ordering::Relaxed);
        if count > told {
            let _ = writeln!(
                out,
                "{} log records dropped: the log is written slower than it fills",
                count - told
            );
            told = count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Mutex, mpsc};

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Takes nothing until it is told to.
    struct Stuck(mpsc::Receiver<()>, Sink);

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
        let sink = Sink::default();
        let mut writer = LogWriter::start(Box::new(sink.clone())).unwrap();
        for line in ["one\n", "two\n"] {
            writer.write_all(line.as_bytes()).unwrap();
        }
        LogWriter::flush(&writer);
        assert_eq!(*sink.0.lock().unwrap(), b"one\ntwo\n");
    }

    #[test]
    fn a_stuck_sink_costs_lines_and_says_so() {
        let (go, wait) = mpsc::channel();
        let sink = Sink::default();
        let mut writer = LogWriter::start(Box::new(Stuck(wait, sink.clone()))).unwrap();
        for _ in 0..QUEUE + 10 {
            writer.write_all(b"x\n").unwrap();
        }
        drop(go);
        LogWriter::flush(&writer);
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        assert!(text.contains("log records dropped"), "{}", text.len());
        assert!((9..=10).contains(&writer.dropped()), "{}", writer.dropped());
    }
}
