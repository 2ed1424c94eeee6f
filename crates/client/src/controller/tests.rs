//! Peers that dial in and are no workers, and workers that break the protocol.

use std::sync::mpsc::channel;

use super::*;

/// A header and its payload, as `docs/protocol.md` has them.
fn answer_of(id: u64, payload: &[u8]) -> Vec<u8> {
    let length = payload.len() as u64;
    [&[1][..], &id.to_le_bytes(), &length.to_le_bytes(), payload].concat()
}

/// A message of the controller.
fn heard(from: &mut impl Read) -> (u64, Vec<u8>) {
    let mut head = [0; HEADER];
    from.read_exact(&mut head).unwrap();
    let number = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().unwrap());
    let mut payload = vec![0; number(9) as usize];
    from.read_exact(&mut payload).unwrap();
    (number(1), payload)
}

/// A worker at the other end of a connection over which versions were exchanged.
fn worker() -> (Controller, UnixStream) {
    let (near, mut far) = UnixStream::pair().unwrap();
    far.write_all(&answer_of(1, &[1])).unwrap();
    let controller = Controller::over(Stream::Unix(near), "a test", None).unwrap();
    heard(&mut far);
    (controller, far)
}

#[test]
fn who_dials_in_and_is_no_worker_is_sent_away_and_the_next_one_is_taken() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let dial = |says: &[u8]| {
        let mut peer = TcpStream::connect(address).unwrap();
        peer.write_all(says).unwrap();
        peer
    };
    let mut nonsense = dial(b"GET / HTTP/1.1\r\nHost: nobody\r\n\r\n");
    drop(dial(b""));
    let _other_version = dial(&answer_of(1, &[0]));
    let mut real = dial(&answer_of(1, &[1]));
    let mut sent_away = Vec::new();
    let listener = Listener::Tcp(listener);
    let controller = listener.accept_and_tell(|error| sent_away.push(error.to_string())).unwrap();
    assert_eq!(controller.worker(), real.local_addr().unwrap().to_string());
    assert_eq!(heard(&mut real).1, protocol::VERSION.to_le_bytes());
    assert_eq!(sent_away.len(), 3, "{sent_away:?}");
    for (told, why) in sent_away.iter().zip(["broke the protocol", "", "speak version 1"]) {
        assert!(told.contains(why), "{told}");
    }
    // Both directions are closed; what it had said and nobody read may reset them.
    let mut rest = Vec::new();
    let end = nonsense.read_to_end(&mut rest);
    assert!(end.is_ok() || end.unwrap_err().kind() == io::ErrorKind::ConnectionReset);
}

#[test]
fn a_greeting_that_does_not_come_or_does_not_end_is_waited_for_so_long_and_no_longer() {
    let patience = Some(Duration::from_millis(50));
    let (near, silent) = UnixStream::pair().unwrap();
    let error = Controller::over(Stream::Unix(near), "a test", patience).unwrap_err();
    assert!(error.to_string().contains("did not answer in time"), "{error}");
    drop(silent);
    // A byte now and then would keep each single read from being late.
    let (near, mut slow) = UnixStream::pair().unwrap();
    let dribbling = thread::spawn(move || {
        let answer = answer_of(1, &vec![7; 8 << 20]);
        // Until the controller hangs up.
        let _ = answer.iter().try_for_each(|byte| slow.write_all(&[*byte]));
    });
    let error = Controller::over(Stream::Unix(near), "a test", patience).unwrap_err();
    assert!(error.to_string().contains("did not answer in time"), "{error}");
    dribbling.join().unwrap();
}

#[test]
fn once_it_has_greeted_a_worker_may_take_its_time() {
    let (near, mut far) = UnixStream::pair().unwrap();
    far.write_all(&answer_of(1, &[1])).unwrap();
    let patience = Some(Duration::from_secs(60));
    let controller = Controller::over(Stream::Unix(near), "a test", patience).unwrap();
    let Stream::Unix(near) = &controller.writer else { unreachable!("it was made of one") };
    assert_eq!(near.read_timeout().unwrap(), None);
}

#[test]
fn a_worker_that_answers_what_nobody_asked_is_hung_up_on_while_others_go_on() {
    let ((first, mut liar), (second, mut honest)) = (worker(), worker());
    let (sender, is_ended) = channel();
    let lying = thread::spawn(move || {
        heard(&mut liar);
        liar.write_all(&answer_of(99, &[0; 12])).unwrap();
        let mut rest = Vec::new();
        // Until the controller hangs up.
        let ended = liar.read_to_end(&mut rest);
        sender.send(ended.is_ok()).unwrap();
    });
    let working = thread::spawn(move || {
        // Not before: the controller still has something to wait for.
        assert!(is_ended.recv().unwrap());
        for _ in 0..2 {
            let (id, _) = heard(&mut honest);
            honest.write_all(&answer_of(id, &[0; 12])).unwrap();
        }
    });
    let inputs = [b"one".to_vec(), b"two".to_vec()];
    let results: Vec<_> = Crew::new(vec![first, second], inputs.into_iter()).collect();
    assert_eq!(results.iter().filter(|(_, result)| result.is_ok()).count(), 2, "{results:?}");
    lying.join().unwrap();
    working.join().unwrap();
}
