//! Clusters: how a program reaches its nodes.

use std::ffi::c_char;
use std::mem::MaybeUninit;

use client::Cluster;

use crate::border::{give, place, text};
use crate::status::farcall_status::{self, FARCALL_OK};
use crate::status::{free, guard};

/// Links to the nodes of a cluster. It may be used by several threads at once, and must outlive
/// nothing: what was made with it keeps the links for as long as it needs them.
pub struct farcall_cluster(pub(crate) Cluster);

/// Links to nodes: HOST, HOST:PORT or the path of a Unix socket, with commas between them. One is enough,
/// it knows the others. The certificate is this user's: see `farcall auth join`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn farcall_connect(
    nodes: *const c_char,
    cluster: Option<&mut MaybeUninit<*mut farcall_cluster>>,
) -> farcall_status {
    guard(|| {
        let cluster = place(cluster)?;
        // SAFETY: the header asks for a text that ends with a zero; it is the caller's for the whole call.
        let nodes = unsafe { text(nodes, "list of nodes") }?;
        let nodes = nodes.split(',').map(str::trim).filter(|node| !node.is_empty());
        give(cluster, farcall_cluster(Cluster::connect(nodes)?));
        Ok(FARCALL_OK)
    })
}

/// Links to the nodes that FARCALL_NODES names; where it names none, starts one on this machine.
#[unsafe(no_mangle)]
pub extern "C" fn farcall_from_env(
    cluster: Option<&mut MaybeUninit<*mut farcall_cluster>>,
) -> farcall_status {
    guard(|| {
        give(place(cluster)?, farcall_cluster(Cluster::from_env()?));
        Ok(FARCALL_OK)
    })
}

/// Starts a node on this machine, which ends with this program. Needs the program `farcall` in PATH, or
/// its path in FARCALL_BIN.
#[unsafe(no_mangle)]
pub extern "C" fn farcall_local(
    cluster: Option<&mut MaybeUninit<*mut farcall_cluster>>,
) -> farcall_status {
    guard(|| {
        give(place(cluster)?, farcall_cluster(Cluster::local()?));
        Ok(FARCALL_OK)
    })
}

/// Frees a cluster; null is nothing.
#[unsafe(no_mangle)]
pub extern "C" fn farcall_cluster_free(cluster: Option<Box<farcall_cluster>>) {
    free(cluster);
}
