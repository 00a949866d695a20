//! Waiting: between requests, before a retry, and until someone gives up.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The lock, also after another thread's panic: that panic is passed on when the threads are joined.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells all threads to stop, also those that sleep.
#[derive(Debug, Default)]
pub(super) struct Stop {
    stopped: Mutex<bool>,
    wake: Condvar,
}

impl Stop {
    pub(super) fn stop(&self) {
        *locked(&self.stopped) = true;
        self.wake.notify_all();
    }

    pub(super) fn is_stopped(&self) -> bool {
        *locked(&self.stopped)
    }

    /// Sleeps, and says whether it was woken to stop.
    pub(super) fn sleep(&self, time: Duration) -> bool {
        let slept = self.wake.wait_timeout_while(locked(&self.stopped), time, |stopped| !*stopped);
        *slept.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Lets one request go in each interval, and none while the endpoint wants silence.
#[derive(Debug)]
pub(super) struct Pacer {
    interval: Duration,
    /// When the next request may go.
    next: Mutex<Instant>,
}

impl Pacer {
    pub(super) fn new(requests_per_minute: Option<u32>) -> Self {
        let interval = requests_per_minute.map_or(Duration::ZERO, |n| Duration::from_secs(60) / n.max(1));
        Self { interval, next: Mutex::new(Instant::now()) }
    }

    /// Waits for the next request's turn, and says whether it was woken to stop.
    pub(super) fn wait(&self, stop: &Stop) -> bool {
        let now = Instant::now();
        let turn = {
            let mut next = locked(&self.next);
            let turn = (*next).max(now);
            *next = turn + self.interval;
            turn
        };
        stop.sleep(turn - now)
    }

    /// Keeps requests back that have no turn yet.
    pub(super) fn hold(&self, time: Duration) {
        let mut next = locked(&self.next);
        *next = (*next).max(Instant::now() + time);
    }
}
