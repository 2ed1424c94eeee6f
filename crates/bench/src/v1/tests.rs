//! The controller against the protocol's own vectors, replayed by a socket.

use std::thread;

use super::*;

/// A worker that reads so many bytes and answers with what it is told, one after the other.
fn worker(script: Vec<(Vec<u8>, Vec<u8>)>) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a controller");
        for (want, answer) in script {
            let mut got = vec![0; want.len()];
            stream.read_exact(&mut got).expect("a message");
            assert_eq!(got, want);
            stream.write_all(&answer).expect("room for an answer");
        }
    });
    address
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b' ').collect();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}

/// Version and core, as in the paper but for the core's name.
fn opening() -> Vec<(Vec<u8>, Vec<u8>)> {
    vec![
        (
            hex("01 0100000000000000 0400000000000000 01000000"),
            hex("01 0100000000000000 0100000000000000 01"),
        ),
        (
            hex("02 0200000000000000 1800000000000000 0400000000000000 6563686f
                 0400000000000000 7f454c46"
                .replace('\n', "")
                .as_str()),
            hex("01 0200000000000000 0000000000000000"),
        ),
    ]
}

const JOB_ABC: &str =
    "03 0300000000000000 1300000000000000 43420f0000000000 0300000000000000 616263";

#[test]
fn a_job_is_sent_and_answered_to_the_byte() {
    let mut script = opening();
    let answer = "01 0300000000000000 0f00000000000000 00000000 0300000000000000 616263";
    script.push((hex(JOB_ABC), hex(answer)));
    let mut controller = Controller::start(worker(script), b"\x7fELF").expect("an opening");
    assert_eq!(controller.latency(b"abc", 1).expect("an answer").len(), 1);
}

#[test]
fn another_answer_than_the_question_is_no_figure() {
    let mut script = opening();
    let answer = "01 0300000000000000 0f00000000000000 00000000 0300000000000000 78797a";
    script.push((hex(JOB_ABC), hex(answer)));
    let mut controller = Controller::start(worker(script), b"\x7fELF").expect("an opening");
    assert!(controller.latency(b"abc", 1).is_err());
}

#[test]
fn an_error_of_the_worker_is_quoted() {
    let mut script = opening();
    script[1].1 = hex("ff 0200000000000000 0300000000000000 62 61 64");
    let error = Controller::start(worker(script), b"\x7fELF").err().expect("a refusal");
    assert!(error.to_string().contains("bad"), "{error}");
}
