//! A pool of threads: each line is a task, and answers are put back in order.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

fn work(number: u64) -> u64 {
    (0..3000).fold(number, |hash, step| (hash ^ step).wrapping_mul(0x100_0000_01b3))
}

fn main() {
    let tasks = Arc::new((Mutex::new((Vec::<(u64, u64)>::new(), false)), Condvar::new()));
    let (answer, answers) = channel();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (tasks, answer) = (Arc::clone(&tasks), answer.clone());
            thread::spawn(move || {
                let mut done = 0_u64;
                loop {
                    let mut state = tasks.0.lock().unwrap();
                    let (at, number) = loop {
                        match state.0.pop() {
                            Some(task) => break task,
                            None if state.1 => return done,
                            None => state = tasks.1.wait(state).unwrap(),
                        }
                    };
                    drop(state);
                    answer.send((at, work(number))).unwrap();
                    done += 1;
                }
            })
        })
        .collect();
    drop(answer);
    let (mut sent, mut next, mut waiting, mut total) = (0, 0, BTreeMap::new(), 0_u64);
    let mut lines = std::io::stdin().lock().lines();
    loop {
        let line = lines.next();
        if let Some(line) = &line {
            let number = line.as_ref().unwrap().parse().unwrap();
            tasks.0.lock().unwrap().0.push((sent, number));
            sent += 1;
        } else {
            tasks.0.lock().unwrap().1 = true;
        }
        tasks.1.notify_all();
        while next < sent && (line.is_none() || sent - next > 50) {
            while let Some(hash) = waiting.remove(&next) {
                total = total.rotate_left(5) ^ hash;
                next += 1;
                if next % 100 == 0 {
                    println!("{next} {total:x}");
                }
            }
            if next < sent && (line.is_none() || sent - next > 50) {
                let (at, hash) = answers.recv().unwrap();
                waiting.insert(at, hash);
            }
        }
        if line.is_none() {
            break;
        }
    }
    let done: u64 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    println!("end {done} {total:x}");
}
