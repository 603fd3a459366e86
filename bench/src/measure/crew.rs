//! The processes of one run: started, told, heard, and never left behind.

use crate::role::{Answer, Order, RoleSpec};
use crate::{BenchError, clock};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// How often somebody who waits looks whether to give up.
const LOOK: Duration = Duration::from_millis(50);

/// What any step may take beyond the time that messages are offered.
const PATIENCE: u64 = 30_000_000_000;

const STARTING: &str = "starting a process of the measurement";
const TELLING: &str = "telling a process of the measurement what to do";

/// How to start a process of a measurement: the program, and the arguments that make it call
/// [`role::play`](crate::role::play) with one more, which follows them.
#[derive(Clone, Debug)]
pub struct Launcher {
    /// The program.
    pub program: PathBuf,
    /// Its first arguments.
    pub arguments: Vec<String>,
}

/// A process of the crew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member(usize);

pub(super) struct Crew<'a> {
    launcher: &'a Launcher,
    stop: &'a dyn Fn() -> bool,
    processes: Vec<(Child, ChildStdin)>,
    /// `None`: it has ended.
    answers: mpsc::Receiver<(Member, Option<Answer>)>,
    post: mpsc::Sender<(Member, Option<Answer>)>,
    /// What was said before somebody asked for it.
    unread: Vec<(Member, Answer)>,
    patience: u64,
    credit: Option<CreditOffice>,
}

/// Who has got how much: a publisher may go on when its slowest subscriber has.
struct CreditOffice {
    publishers: Vec<Member>,
    window: u64,
    /// By publisher: subscriber and number.
    below: Vec<Vec<(Member, u64)>>,
    subscribers: usize,
}

impl<'a> Crew<'a> {
    pub(super) fn new(launcher: &'a Launcher, stop: &'a dyn Fn() -> bool) -> Self {
        let (post, answers) = mpsc::channel();
        let (processes, unread) = (Vec::new(), Vec::new());
        Self { launcher, stop, processes, answers, post, unread, patience: PATIENCE, credit: None }
    }

    pub(super) fn enlist(&mut self, spec: &RoleSpec) -> Result<Member, BenchError> {
        let spec = serde_json::to_string(spec).map_err(BenchError::doing(STARTING))?;
        let mut command = Command::new(&self.launcher.program);
        command.args(&self.launcher.arguments).arg(spec);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(BenchError::doing(STARTING))?;
        let (orders, answers) = (child.stdin.take(), child.stdout.take());
        let Some((orders, answers)) = orders.zip(answers) else {
            return Err(BenchError::failed(STARTING, "it has no pipes"));
        };
        let member = Member(self.processes.len());
        self.processes.push((child, orders));
        let post = self.post.clone();
        thread::Builder::new()
            .spawn(move || listen(member, answers, &post))
            .map_err(BenchError::doing(STARTING))?;
        Ok(member)
    }

    /// Waits until it is ready; says its ports.
    pub(super) fn ready(&mut self, member: Member) -> Result<Vec<u16>, BenchError> {
        self.expect(member, |answer| if let Answer::Ready(ports) = answer { Some(ports) } else { None })
    }

    pub(super) fn order(&mut self, member: Member, order: &Order) -> Result<(), BenchError> {
        let mut line = serde_json::to_string(order).map_err(BenchError::doing(TELLING))?;
        line.push('\n');
        match self.processes.get_mut(member.0) {
            Some((_, orders)) => orders.write_all(line.as_bytes()).map_err(BenchError::doing(TELLING)),
            None => Ok(()),
        }
    }

    /// Processor time that each party has used so far, in nanoseconds.
    pub(super) fn cpu(&mut self, parties: [&[Member]; 3]) -> Result<[u64; 3], BenchError> {
        let mut cpu = [0; 3];
        for (cpu, members) in cpu.iter_mut().zip(parties) {
            for &member in members {
                self.order(member, &Order::Cpu)?;
                *cpu += self.expect(member, Answer::cpu)?;
            }
        }
        Ok(cpu)
    }

    /// Lets it close its links.
    pub(super) fn stop(&mut self, member: Member) -> Result<(), BenchError> {
        self.order(member, &Order::Stop)?;
        self.expect(member, |answer| matches!(answer, Answer::Ended).then_some(()))
    }

    /// Waits so much longer for each answer from now on.
    pub(super) fn patience(&mut self, nanos: u64) {
        self.patience = PATIENCE + nanos;
    }

    /// From now on subscribers' credit goes to the publishers.
    pub(super) fn forward_credit(&mut self, publishers: &[Member], subscribers: usize, window: u64) {
        let below = vec![Vec::new(); publishers.len()];
        self.credit = Some(CreditOffice { publishers: publishers.to_vec(), window, below, subscribers });
    }

    /// Waits for one kind of answer of one member.
    pub(super) fn expect<T>(
        &mut self,
        member: Member,
        wanted: impl Fn(Answer) -> Option<T>,
    ) -> Result<T, BenchError> {
        let deadline = clock::now() + self.patience;
        let mut unread = std::mem::take(&mut self.unread).into_iter();
        let early = unread.by_ref().find_map(|(from, answer)| {
            if from == member
                && let Some(found) = wanted(answer.clone())
            {
                return Some(found);
            }
            self.unread.push((from, answer));
            None
        });
        self.unread.extend(unread);
        if let Some(found) = early {
            return Ok(found);
        }
        loop {
            if (self.stop)() {
                return Err(BenchError::Interrupted);
            }
            match self.answers.recv_timeout(LOOK) {
                Ok((from, Some(Answer::Credit { publisher, below }))) => {
                    self.credit(from, publisher, below)?
                }
                Ok((_, Some(Answer::Failed(why)))) => return Err(BenchError::failed("measuring", why)),
                Ok((from, Some(answer))) => {
                    if from == member
                        && let Some(found) = wanted(answer.clone())
                    {
                        return Ok(found);
                    }
                    self.unread.push((from, answer));
                }
                // Those that have told all they had to tell may end; `member` has not.
                Ok((from, None)) if from != member => {}
                Ok((_, None)) | Err(RecvTimeoutError::Disconnected) => {
                    // Ctrl-C on a terminal ends the processes as well, and may get to them first.
                    let asked = (self.stop)();
                    let died =
                        BenchError::failed("measuring", "a process of the measurement ended too early");
                    return Err(if asked { BenchError::Interrupted } else { died });
                }
                Err(RecvTimeoutError::Timeout) if clock::now() > deadline => {
                    return Err(BenchError::failed("measuring", "a process of the measurement says nothing"));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn credit(&mut self, from: Member, publisher: u16, below: u64) -> Result<(), BenchError> {
        let Some(office) = &mut self.credit else { return Ok(()) };
        let which = usize::from(publisher);
        let (Some(&to), Some(got)) = (office.publishers.get(which), office.below.get_mut(which)) else {
            return Ok(());
        };
        match got.iter_mut().find(|(subscriber, _)| *subscriber == from) {
            Some((_, number)) => *number = below,
            None => got.push((from, below)),
        }
        if got.len() < office.subscribers {
            return Ok(());
        }
        let slowest = got.iter().map(|(_, number)| *number).min().unwrap_or(0);
        let order = Order::Credit(slowest + office.window);
        self.order(to, &order)
    }
}

fn listen(member: Member, answers: ChildStdout, post: &mpsc::Sender<(Member, Option<Answer>)>) {
    for line in BufReader::new(answers).lines().map_while(Result::ok) {
        let answer = serde_json::from_str(&line)
            .unwrap_or_else(|error| Answer::Failed(format!("an answer that is none: {error}")));
        if post.send((member, Some(answer))).is_err() {
            return;
        }
    }
    let _ = post.send((member, None));
}

impl Drop for Crew<'_> {
    fn drop(&mut self) {
        for (child, _) in &mut self.processes {
            let _ = child.kill();
        }
        for (child, _) in &mut self.processes {
            let _ = child.wait();
        }
    }
}
