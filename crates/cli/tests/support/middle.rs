//! Somebody on the line between clients and a node.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Passes bytes on between clients and a node; keeps what clients said.
pub(crate) struct Middle {
    pub(crate) address: String,
    pub(crate) heard: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Middle {
    /// Of each connection, so many TLS records go each way; then both ends see the end.
    pub(crate) fn start(target: &str, records: impl Fn(usize) -> usize + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (all, target) = (heard.clone(), target.to_owned());
        thread::spawn(move || {
            for (at, client) in listener.incoming().enumerate() {
                let client = client.unwrap();
                let node = TcpStream::connect(&target).unwrap();
                let ends = (client.try_clone().unwrap(), node.try_clone().unwrap());
                let (records, all) = (records(at), all.clone());
                all.lock().unwrap().push(Vec::new());
                thread::spawn(move || {
                    pass(client, node, records, |record| {
                        all.lock().unwrap()[at].extend_from_slice(record);
                    });
                });
                thread::spawn(move || pass(ends.1, ends.0, records, |_| ()));
            }
        });
        Self { address, heard }
    }
}

/// Whole records only.
fn pass(mut from: TcpStream, mut to: TcpStream, records: usize, mut see: impl FnMut(&[u8])) {
    for _ in 0..records {
        let mut record = vec![0; 5];
        if from.read_exact(&mut record).is_err() {
            break;
        }
        record.resize(5 + usize::from(u16::from_be_bytes([record[3], record[4]])), 0);
        if from.read_exact(&mut record[5..]).is_err() || to.write_all(&record).is_err() {
            break;
        }
        see(&record);
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
