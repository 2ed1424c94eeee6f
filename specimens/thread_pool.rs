//! A Rust program: a pool of threads that take numbers from a channel and give their squares to another.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{env, fs, process, thread};

const THREADS: usize = 4;

fn main() {
    let folder = PathBuf::from(env::args_os().nth(1).expect("a folder"));
    let spoil = env::var_os("SPOIL").is_some();
    let (give, work) = channel::<u64>();
    let (tell, results) = channel();
    let work = Arc::new(Mutex::new(work));
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let (work, tell) = (work.clone(), tell.clone());
            thread::spawn(move || take_and_square(&work, &tell))
        })
        .collect();
    drop(tell);
    ready(&folder);
    let mut given = 0;
    while !folder.join("end").exists() {
        for _ in 0..10 {
            give.send(given).expect("the threads live");
            given += 1;
        }
        thread::sleep(Duration::from_millis(1));
    }
    if spoil {
        give.send(given - 1).expect("the threads live");
    }
    drop(give);
    let mut squares = HashMap::new();
    for (number, square) in results {
        assert!(squares.insert(number, square).is_none(), "differs: {number} came twice");
    }
    let counts: Vec<u64> = threads.into_iter().map(|thread| thread.join().expect("it ends")).collect();
    assert_eq!(counts.iter().sum::<u64>(), given, "differs: {counts:?}");
    assert_eq!(squares.len() as u64, given, "differs");
    assert!((0..given).all(|number| squares[&number] == number * number), "differs: {squares:?}");
    let caught = std::panic::catch_unwind(|| panic!("only unwinding"));
    assert!(caught.is_err(), "differs: a panic was not caught");
    println!("well");
}

fn take_and_square(work: &Mutex<Receiver<u64>>, tell: &Sender<(u64, u64)>) -> u64 {
    let mut count = 0;
    loop {
        let next = work.lock().expect("nobody panics").recv();
        let Ok(number) = next else { return count };
        tell.send((number, number * number)).expect("somebody listens");
        count += 1;
    }
}

fn ready(folder: &Path) {
    let new = folder.join("ready.new");
    fs::write(&new, process::id().to_string()).expect("a folder to write into");
    fs::rename(new, folder.join("ready")).expect("a folder to write into");
}
