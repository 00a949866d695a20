//! A team of threads for work of some tens of microseconds, such as the products of one token.
//!
//! rayon's threads fall asleep between two such pieces, and waking one costs as much as the piece. The team's helpers
//! stay awake for 200 µs, so that the next piece is handed over in less than one; then they sleep. There is one team,
//! with one helper less than the largest pool that has used it has threads; whoever finds it at work computes with
//! rayon.

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::hint::spin_loop;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Threads of the team at most, the calling one among them: a bit each.
const MOST: usize = u64::BITS as usize;
/// How long a helper waits without a break: longer than what lies between two products of a token, mostly.
const ALERT: Duration = Duration::from_micros(50);
/// How long it waits awake, but lets others run.
const AWAKE: Duration = Duration::from_micros(200);
/// How many times a thread looks for what it waits for before it looks at the clock, or lets others run.
const LOOKS: u32 = 64;

static TEAM: Team = Team::new();

thread_local! {
    /// Whether this thread is at work for a team.
    static AT_WORK: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work(0)` to `work(parts - 1)`, each once, and returns when all are done: on this thread, and on those of the
/// team that are awake in time. Each member takes the parts of a range of its own, in order, then what others have left.
///
/// As many threads take part as rayon's current pool has. Within a part everything is done by the part's own thread, so
/// parts must not need another one's progress, nor wait for rayon.
///
/// # Panics
///
/// If a part panics; parts that had not begun by then may be left out.
pub fn share(parts: usize, work: impl Fn(usize) + Sync) {
    TEAM.share(rayon::current_num_threads(), parts, &work);
}

/// Runs `work` with each of the items and its number, as [`share`] runs parts.
///
/// # Panics
///
/// As [`share`].
pub fn for_each<T: Send>(items: impl Iterator<Item = T>, work: impl Fn(usize, T) + Sync) {
    let items: Vec<Mutex<Option<T>>> = items.map(|item| Mutex::new(Some(item))).collect();
    share(items.len(), |part| {
        // Each is taken once, so nobody waits, and a panic has poisoned none that is still there.
        let item = items[part].lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(item) = item {
            work(part, item);
        }
    });
}

/// As [`share`], by rayon's threads.
fn share_by_rayon(parts: usize, work: &(dyn Fn(usize) + Sync)) {
    fn join(threads: usize, run: &(dyn Fn() + Sync)) {
        match threads {
            0 | 1 => run(),
            _ => {
                rayon::join(|| join(threads.div_ceil(2), run), || join(threads / 2, run));
            }
        }
    }
    let next = AtomicUsize::new(0);
    let run = || {
        loop {
            let part = next.fetch_add(1, Ordering::Relaxed);
            if part >= parts {
                break;
            }
            work(part);
        }
    };
    join(rayon::current_num_threads().min(parts), &run);
}

/// What is done in a round. It is gone when the round is over: only who has joined the round may look at it.
#[derive(Clone, Copy)]
struct Job {
    /// Where the work is; it lives as long as the round, whatever its type says.
    work: *const &'static (dyn Fn(usize) + Sync),
    parts: usize,
    members: usize,
}

impl Job {
    /// The first part of a member's range, or the end of all for the one behind the last.
    fn start(self, member: usize) -> usize {
        self.parts / self.members * member + member.min(self.parts % self.members)
    }
}

/// The next part of a member's range, on cache lines of its own.
#[repr(align(128))]
struct Lane(AtomicUsize);

/// The state of a round in one number: from the lowest bit on, 16 bits for the helpers that have joined, one that
/// says whether others still may, 15 for the members that there is room for, and 32 for the round's number.
#[derive(Clone, Copy)]
struct Gate(u64);

impl Gate {
    const OPEN: u64 = 1 << 16;

    fn open(round: u32, members: usize) -> Self {
        Self(u64::from(round) << 32 | (members as u64) << 17 | Self::OPEN)
    }

    fn joined(self) -> usize {
        (self.0 & 0xffff) as usize
    }

    fn members(self) -> usize {
        (self.0 >> 17 & 0x7fff) as usize
    }

    fn round(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Whether this member, which has last been in round `seen`, may join.
    fn lets_in(self, member: usize, seen: Option<u32>) -> bool {
        self.0 & Self::OPEN != 0 && member < self.members() && seen != Some(self.round())
    }
}

struct Team {
    /// Whether a thread hands out work. Only that thread opens and closes rounds.
    taken: AtomicBool,
    gate: AtomicU64,
    job: UnsafeCell<Option<Job>>,
    lanes: [Lane; MOST],
    /// Helpers that have joined this round and are done with it.
    done: AtomicUsize,
    /// What the first part to panic panicked with, and whether there is one.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    panicked: AtomicBool,
    /// Helpers that have been started.
    helpers: AtomicUsize,
    /// A bit for each helper that sleeps, or is about to.
    asleep: AtomicU64,
    bed: Mutex<()>,
    bell: Condvar,
}

// SAFETY: of what is not made for several threads there is only `job`. It is written by the thread that has `taken` the
// team, while no round is open and nobody is in one, and read by those who have joined a round before they are `done`.
// What it points to may be called by several threads, as its type says.
unsafe impl Sync for Team {}

impl Team {
    const fn new() -> Self {
        Self {
            taken: AtomicBool::new(false),
            gate: AtomicU64::new(0),
            job: UnsafeCell::new(None),
            lanes: [const { Lane(AtomicUsize::new(0)) }; MOST],
            done: AtomicUsize::new(0),
            panic: Mutex::new(None),
            panicked: AtomicBool::new(false),
            helpers: AtomicUsize::new(0),
            asleep: AtomicU64::new(0),
            bed: Mutex::new(()),
            bell: Condvar::new(),
        }
    }

    fn share(&'static self, threads: usize, parts: usize, work: &(dyn Fn(usize) + Sync)) {
        let members = threads.min(parts).min(MOST);
        if members < 2 || AT_WORK.get() {
            return (0..parts).for_each(work);
        }
        if self.taken.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return share_by_rayon(parts, work);
        }
        // Nothing from here to the end of the round unwinds: the job lives on this stack.
        let members = members.min(self.helpers(members - 1) + 1);
        let job = Job { work: std::ptr::from_ref(&work).cast(), parts, members };
        self.open(job);
        AT_WORK.set(true);
        self.take_parts(job, 0);
        AT_WORK.set(false);
        self.close();
        let panic = match self.panicked.swap(false, Ordering::Relaxed) {
            true => self.panic.lock().unwrap_or_else(PoisonError::into_inner).take(),
            false => None,
        };
        self.taken.store(false, Ordering::Release);
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }

    /// Starts helpers until there are so many, and says how many there are; for the thread that has taken the team.
    fn helpers(&'static self, wanted: usize) -> usize {
        let mut helpers = self.helpers.load(Ordering::Relaxed);
        while helpers < wanted {
            let member = helpers + 1;
            let thread = std::thread::Builder::new().name(format!("team-{member}"));
            if thread.spawn(move || self.help(member)).is_err() {
                break;
            }
            helpers = member;
        }
        self.helpers.store(helpers, Ordering::Relaxed);
        helpers
    }

    /// Opens a round; for the thread that has taken the team, which must [`close`](Self::close) it before the job ends.
    fn open(&self, job: Job) {
        for (member, lane) in self.lanes[..job.members].iter().enumerate() {
            lane.0.store(job.start(member), Ordering::Relaxed);
        }
        // SAFETY: no round is open, and all who were in one are done: nobody else looks at it.
        unsafe { *self.job.get() = Some(job) };
        let round = Gate(self.gate.load(Ordering::Relaxed)).round().wrapping_add(1);
        // Who falls asleep says so and then looks at the gate; here it is the other way round, and all in the one order
        // of `SeqCst`. So it is seen here, or sees the round.
        self.gate.store(Gate::open(round, job.members).0, Ordering::SeqCst);
        if self.asleep.load(Ordering::SeqCst) & (u64::MAX >> (MOST - job.members)) != 0 {
            drop(self.bed.lock().unwrap_or_else(PoisonError::into_inner));
            self.bell.notify_all();
        }
    }

    /// Lets nobody in any more, and waits for those who are.
    fn close(&self) {
        let joined = Gate(self.gate.fetch_and(!Gate::OPEN, Ordering::Relaxed)).joined();
        let mut looks = 0;
        // What the helpers have written is seen from here on.
        while self.done.load(Ordering::Acquire) < joined {
            looks += 1;
            match looks % LOOKS {
                // A helper that does not run needs a processor.
                0 if looks > LOOKS * LOOKS => std::thread::yield_now(),
                _ => spin_loop(),
            }
        }
        self.done.store(0, Ordering::Relaxed);
    }

    /// A helper's life.
    fn help(&self, member: usize) {
        AT_WORK.set(true);
        let mut seen = None;
        loop {
            let gate = self.wait(member, seen);
            // Joining is one step from a gate that is open: it fails if the round is over.
            let joined = self.gate.compare_exchange(gate.0, gate.0 + 1, Ordering::Acquire, Ordering::Relaxed);
            if joined.is_err() {
                continue;
            }
            seen = Some(gate.round());
            // SAFETY: the job was written before the gate was opened, and stays as it is until this helper is done.
            if let Some(job) = unsafe { *self.job.get() } {
                self.take_parts(job, member);
            }
            self.done.fetch_add(1, Ordering::Release);
        }
    }

    /// The gate of the next round that has a place for this member.
    fn wait(&self, member: usize, seen: Option<u32>) -> Gate {
        let look = |order| Some(Gate(self.gate.load(order))).filter(|gate| gate.lets_in(member, seen));
        let begin = Instant::now();
        loop {
            for _ in 0..LOOKS {
                if let Some(gate) = look(Ordering::Relaxed) {
                    return gate;
                }
                spin_loop();
            }
            match begin.elapsed() {
                waited if waited < ALERT => {}
                waited if waited < AWAKE => std::thread::yield_now(),
                _ => break,
            }
        }
        let mut bed = self.bed.lock().unwrap_or_else(PoisonError::into_inner);
        self.asleep.fetch_or(1 << member, Ordering::SeqCst);
        let gate = loop {
            match look(Ordering::SeqCst) {
                Some(gate) => break gate,
                None => bed = self.bell.wait(bed).unwrap_or_else(PoisonError::into_inner),
            }
        };
        self.asleep.fetch_and(!(1 << member), Ordering::Relaxed);
        gate
    }

    /// Does this member's parts, then those that others have not come to. For who is in the round only.
    fn take_parts(&self, job: Job, member: usize) {
        // SAFETY: what the job points to lives until the round is closed, which waits for everyone in it.
        let work = unsafe { *job.work };
        let take = || {
            for lane in (member..job.members).chain(0..member) {
                let (next, end) = (&self.lanes[lane].0, job.start(lane + 1));
                // Looking first leaves the lines of those who are done with all where they are.
                while next.load(Ordering::Relaxed) < end {
                    let part = next.fetch_add(1, Ordering::Relaxed);
                    if part < end {
                        work(part);
                    }
                }
            }
        };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(take)) {
            self.lanes[..job.members].iter().for_each(|lane| lane.0.store(job.parts, Ordering::Relaxed));
            self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
            self.panicked.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
