//! What goes on is what was read, and whoever does not take it holds nobody up for long.

use super::*;

fn tee(bytes: &[u8], onward: UnixStream) -> Tee<&[u8]> {
    Tee { from: bytes, onward: Some(Onward::new(onward)) }
}

#[test]
fn what_was_read_goes_on_and_nothing_of_what_follows() {
    let (near, mut far) = UnixStream::pair().unwrap();
    let mut read = [0; 7];
    tee(b"the image and what follows", near).read_exact(&mut read).unwrap();
    let mut passed = Vec::new();
    far.read_to_end(&mut passed).unwrap();
    assert_eq!((&read[..], &passed[..]), (&b"the ima"[..], &b"the ima"[..]));
}

#[test]
fn who_is_gone_is_not_written_to_and_the_rest_is_read() {
    let (near, far) = UnixStream::pair().unwrap();
    drop(far);
    let bytes = vec![7; 1 << 20];
    let mut read = Vec::new();
    let mut tee = tee(&bytes, near);
    tee.read_to_end(&mut read).unwrap();
    assert!(read == bytes && tee.onward.is_none());
}

#[test]
fn who_was_fast_for_long_may_not_stand_still_for_as_long() {
    let (near, mut far) = UnixStream::pair().unwrap();
    let reader = std::thread::spawn(move || {
        let mut taken = Vec::new();
        far.read_to_end(&mut taken).map(|_| taken.len())
    });
    let piece = vec![7; 1 << 20];
    let mut onward = Onward::new(near);
    for _ in 0..64 {
        onward = onward.pass(&piece).expect("it is taken");
    }
    let most = Duration::from(FETCH_SILENCE) + Duration::from_secs(1);
    assert!(onward.left <= most, "it may stand still for {:?}", onward.left);
    drop(onward);
    assert_eq!(reader.join().unwrap().unwrap(), 64 << 20);
}

#[test]
fn who_takes_nothing_is_cut_off_when_his_time_is_over() {
    let (near, mut far) = UnixStream::pair().unwrap();
    let bytes = vec![7; 1 << 20];
    let mut read = Vec::new();
    let mut tee = tee(&bytes, near);
    if let Some(onward) = &mut tee.onward {
        onward.left = Duration::from_millis(1);
    }
    tee.read_to_end(&mut read).unwrap();
    assert!(read == bytes && tee.onward.is_none());
    drop(tee);
    let mut passed = Vec::new();
    far.read_to_end(&mut passed).unwrap();
    assert!(passed.len() < bytes.len());
}
