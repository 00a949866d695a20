use std::sync::Barrier;

use super::*;

/// Rounds of the long tests: fewer where every step is checked.
const ROUNDS: usize = if cfg!(miri) { 30 } else { 20_000 };

/// A team of a test's own, which nobody else makes busy.
fn team() -> &'static Team {
    Box::leak(Box::new(Team::new()))
}

/// How often each part is run.
fn counts(parts: usize, share: impl FnOnce(&(dyn Fn(usize) + Sync))) -> Vec<usize> {
    let counts: Vec<AtomicUsize> = (0..parts).map(|_| AtomicUsize::new(0)).collect();
    share(&|part| {
        counts[part].fetch_add(1, Ordering::Relaxed);
    });
    counts.into_iter().map(AtomicUsize::into_inner).collect()
}

/// Waits until `done`, but not for ever.
fn eventually(done: impl Fn() -> bool) -> bool {
    let begin = Instant::now();
    while !done() && begin.elapsed() < Duration::from_secs(20) {
        std::thread::yield_now();
    }
    done()
}

#[test]
fn every_part_is_run_once() {
    let most = if cfg!(miri) { 12 } else { 200 };
    let team = team();
    for threads in [0, 1, 2, 3, 7, 64, 1000] {
        if cfg!(miri) && threads > 7 {
            continue;
        }
        for parts in (0..most).step_by(if threads > 7 { 23 } else { 1 }) {
            assert_eq!(counts(parts, |work| team.share(threads, parts, work)), vec![1; parts], "{threads}, {parts}");
        }
    }
    assert_eq!(counts(50, |work| share(50, work)), [1; 50]);
    assert_eq!(counts(50, |work| share_by_rayon(50, work)), [1; 50]);
}

#[test]
fn members_work_side_by_side() {
    // Each part waits for all others, so that each needs a thread of its own.
    let team = team();
    for members in [2, 4] {
        let barrier = Barrier::new(members);
        for _ in 0..ROUNDS / 100 + 2 {
            team.share(members, members, &|_| {
                barrier.wait();
            });
        }
    }
}

#[test]
fn what_parts_write_is_seen_and_outlives_nothing() {
    let team = team();
    let mut values = vec![0_usize; 40];
    for round in 0..ROUNDS {
        let base = round * 3;
        let parts: Vec<Mutex<&mut [usize]>> = values.chunks_mut(4).map(Mutex::new).collect();
        team.share(3, parts.len(), &|part| {
            parts[part].lock().unwrap().iter_mut().enumerate().for_each(|(i, value)| *value = base + 4 * part + i);
        });
        drop(parts);
        assert!(values.iter().enumerate().all(|(i, value)| *value == base + i));
    }
}

#[test]
fn a_panic_comes_out_and_the_team_goes_on() {
    let team = team();
    for bad in [0, 3, 7] {
        let panic = catch_unwind(AssertUnwindSafe(|| {
            team.share(2, 8, &|part| {
                if part == bad {
                    std::panic::panic_any(part);
                }
            });
        }));
        assert_eq!(panic.unwrap_err().downcast_ref(), Some(&bad));
        assert_eq!(counts(8, |work| team.share(2, 8, work)), [1; 8]);
    }
    // In all at once.
    let barrier = Barrier::new(2);
    let panic = catch_unwind(AssertUnwindSafe(|| {
        team.share(2, 2, &|part| {
            barrier.wait();
            std::panic::panic_any(part);
        });
    }));
    assert!(panic.unwrap_err().is::<usize>());
    assert_eq!(counts(8, |work| team.share(2, 8, work)), [1; 8]);
}

#[test]
fn a_part_that_shares_does_so_alone() {
    let team = team();
    let total = AtomicUsize::new(0);
    team.share(2, 5, &|_| {
        let here = std::thread::current().id();
        team.share(2, 7, &|_| {
            assert_eq!(std::thread::current().id(), here);
            total.fetch_add(1, Ordering::Relaxed);
        });
        share(3, |_| {
            total.fetch_add(1, Ordering::Relaxed);
        });
    });
    assert_eq!(total.into_inner(), 5 * (7 + 3));
    assert!(!AT_WORK.get());
}

#[test]
fn many_callers_get_through() {
    let team = team();
    let rounds = ROUNDS / 10;
    std::thread::scope(|scope| {
        for caller in 0..4 {
            scope.spawn(move || {
                for round in 0..rounds {
                    let parts = (caller + round) % 6;
                    assert_eq!(counts(parts, |work| team.share(3, parts, work)), vec![1; parts]);
                }
            });
        }
    });
    assert!(!team.taken.load(Ordering::Relaxed));
}

#[test]
fn helpers_sleep_and_are_woken() {
    let team = team();
    for _ in 0..3 {
        let barrier = Barrier::new(3);
        team.share(3, 3, &|_| {
            barrier.wait();
        });
        assert!(eventually(|| team.asleep.load(Ordering::Relaxed) == 0b110), "helpers stay awake");
    }
}

#[test]
fn a_round_ends_without_those_who_come_too_late() {
    let team = team();
    let barrier = Barrier::new(2);
    team.share(2, 2, &|_| {
        barrier.wait();
    });
    assert!(eventually(|| team.asleep.load(Ordering::Relaxed) == 0b10));
    for _ in 0..ROUNDS / 100 + 2 {
        assert_eq!(counts(4, |work| team.share(2, 4, work)), [1; 4]);
    }
}

#[test]
fn items_are_handed_out_once() {
    let mut values = [0; 100];
    for _ in 0..3 {
        for_each(values.chunks_mut(7), |nth, values| values.iter_mut().for_each(|value| *value += nth + 1));
    }
    assert!(values.iter().enumerate().all(|(i, value)| *value == 3 * (i / 7 + 1)));
    for_each(std::iter::empty::<u8>(), |_, _| unreachable!());
}

#[test]
fn gates_hold_what_they_are_made_of() {
    let gate = Gate::open(u32::MAX, MOST);
    assert_eq!((gate.round(), gate.members(), gate.joined()), (u32::MAX, MOST, 0));
    assert!(gate.lets_in(MOST - 1, None) && gate.lets_in(1, Some(0)));
    assert!(!gate.lets_in(MOST, None) && !gate.lets_in(1, Some(u32::MAX)));
    assert!(!Gate(gate.0 & !Gate::OPEN).lets_in(1, None));
    assert_eq!(Gate(gate.0 + 3).joined(), 3);
}
