//! A child process whose output is waited for, line by line.

use crate::clock::{DEADLINE, now};
use rustix::process::{Pid, Signal, kill_process};
use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};

/// A running program. Killed when dropped, so that no test leaves one behind.
pub struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    /// Everything that it said, to be shown when the test fails.
    said: Vec<String>,
}

impl Process {
    /// Starts `command`; `name` is what failures call it.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    pub fn start(name: impl Into<String>, command: &mut Command) -> Self {
        let name = name.into();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name}: {command:?}: {error}"));
        let (sender, lines) = channel();
        read_lines(child.stdout.take().unwrap(), "", sender.clone());
        read_lines(child.stderr.take().unwrap(), "stderr: ", sender);
        let stdin = child.stdin.take();
        Self { name, child, stdin, lines, said: Vec::new() }
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The most memory that it ever had, in kB.
    ///
    /// # Panics
    /// When it has ended.
    #[must_use]
    #[track_caller]
    pub fn peak_kilobytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
        peak.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// The next line of its output for which `wanted` holds; those before it are skipped. Lines of the error output
    /// begin with `stderr: `.
    ///
    /// # Panics
    /// When there is none within [`DEADLINE`], or the program ends before.
    #[track_caller]
    pub fn line(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = now() + DEADLINE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(now())) {
                Ok(line) => {
                    self.said.push(line.clone());
                    if wanted(&line) {
                        return line;
                    }
                }
                Err(error) => panic!("waited for {what}: {error}\n{self}"),
            }
        }
    }

    /// The next line of its output for which `wanted` holds, if it has come already.
    pub fn has_said(&mut self, wanted: impl Fn(&str) -> bool) -> Option<String> {
        while let Ok(line) = self.lines.try_recv() {
            self.said.push(line.clone());
            if wanted(&line) {
                return Some(line);
            }
        }
        None
    }

    /// All that it said; complete once it has ended.
    pub fn output(&mut self) -> &[String] {
        if !self.is_running() {
            self.said.extend(self.lines.iter());
        }
        &self.said
    }

    /// What follows `mark` in the next line that begins with it.
    #[track_caller]
    pub fn after(&mut self, mark: &str) -> String {
        self.line(mark, |line| line.starts_with(mark))[mark.len()..].trim().to_owned()
    }

    /// Writes a line to its standard input.
    ///
    /// # Panics
    /// When it does not read any more.
    #[track_caller]
    pub fn say(&mut self, line: &str) {
        let written = self.stdin.as_mut().map(|stdin| writeln!(stdin, "{line}"));
        assert!(matches!(written, Some(Ok(()))), "{} does not listen\n{self}", self.name);
    }

    /// Sends it Ctrl-C.
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    /// Memory that it has, in bytes.
    ///
    /// # Panics
    /// When it has ended.
    #[must_use]
    pub fn resident(&self) -> usize {
        self.stat("statm").split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
    }

    /// Hundredths of a second that it was on a processor.
    ///
    /// # Panics
    /// When it has ended.
    #[must_use]
    pub fn ticks(&self) -> u64 {
        let stat = self.stat("stat");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    /// How many open files, threads and the like it has: the entries of a folder that the system keeps about it.
    ///
    /// # Panics
    /// When it has ended.
    #[must_use]
    pub fn count(&self, folder: &str) -> usize {
        std::fs::read_dir(format!("/proc/{}/{folder}", self.id())).unwrap().count()
    }

    fn stat(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.id())).unwrap_or_default()
    }

    /// Ends it at once, without a chance to say goodbye.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    /// When it does not within [`DEADLINE`].
    #[track_caller]
    pub fn exit(&mut self) -> ExitStatus {
        crate::clock::eventually(&format!("{} ends", self.name), || self.child.try_wait().unwrap().is_some());
        self.child.wait().unwrap()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

fn read_lines(stream: impl Read + Send + 'static, mark: &'static str, lines: Sender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            let _ = lines.send(format!("{mark}{}", String::from_utf8_lossy(&line)));
        }
    });
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            self.said.extend(self.lines.iter());
            println!("{self}");
        }
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "--- {} said:", self.name)?;
        self.said.iter().try_for_each(|line| writeln!(f, "    {line}"))?;
        f.write_str("---")
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("name", &self.name).field("id", &self.id()).finish_non_exhaustive()
    }
}
