//! One JSON document each way over the agent's Unix socket.

use crate::check::{Checked, CniError};
use crate::json::{self, Value};
use std::io::{Error, ErrorKind, Read, Write};
use std::os::raw::{c_int, c_void};
use std::os::unix::io::FromRawFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

const TIMEOUT_SECONDS: u64 = 30;
const TRY_AGAIN: i64 = 11;
const NOT_AVAILABLE: i64 = 50;
const EACCES: i32 = 13;
const EAGAIN: i32 = 11;

/// What the agent has to print, "" for nothing, and its exit code.
pub fn ask(
    path: &str,
    document: &str,
    command: &str,
    pod: Option<String>,
) -> Checked<(String, i32)> {
    let code = if command == "STATUS" { NOT_AVAILABLE } else { TRY_AGAIN };
    let about = pod.map_or(command.to_string(), |pod| format!("{} of pod {}", command, pod));
    let fault = |msg: String, details: &str| CniError { code, msg, details: details.to_string() };
    let received = exchange(path, document.as_bytes()).map_err(|why| {
        let late = why.kind() == ErrorKind::TimedOut;
        let reason =
            if late { format!("no answer in {} s", TIMEOUT_SECONDS) } else { why.to_string() };
        let msg = format!("{}: steppe's agent is not reachable at {}: {}", about, path, reason);
        fault(msg, cure(&why, late))
    })?;
    understood(&received).ok_or_else(|| {
        let msg = format!("{}: steppe's agent broke off before it had answered", about);
        fault(msg, "look into the agent's log; this is tried again by itself")
    })
}

fn cure(why: &Error, late: bool) -> &'static str {
    match why.raw_os_error() {
        _ if late => "it runs and does not answer: look into its log; this is tried again by itself",
        Some(EACCES) => "its socket is root's alone: the container runtime must run plugins as root",
        Some(EAGAIN) => "it has more requests than it can take now; this is tried again by itself",
        _ => "start the agent on this node, or look into its log; this is tried again by itself",
    }
}

/// The answer's text to print and exit code; None unless it is a whole answer.
fn understood(received: &[u8]) -> Option<(String, i32)> {
    let text = std::str::from_utf8(received).ok()?;
    let answer = json::parse(text).ok()?;
    let exit = match answer.get("exit")? {
        Value::Whole(code) => (*code & 0xff) as i32,
        _ => return None,
    };
    let printed = answer.member("stdout")?;
    match printed.value {
        Value::Null => Some((String::new(), exit)),
        Value::Object(_) => Some((text[printed.span.clone()].to_string(), exit)),
        _ => None,
    }
}

fn exchange(path: &str, document: &[u8]) -> Result<Vec<u8>, Error> {
    let mut channel = connect(path)?;
    let limit = Some(Duration::from_secs(TIMEOUT_SECONDS));
    channel.set_nonblocking(false)?;
    channel.set_read_timeout(limit)?;
    channel.set_write_timeout(limit)?;
    let mut received = Vec::new();
    let mut talk = || {
        channel.write_all(document)?;
        channel.shutdown(std::net::Shutdown::Write)?;
        channel.read_to_end(&mut received)
    };
    match talk() {
        // A time-out is EAGAIN as well (socket(7), SO_RCVTIMEO); here it is told apart.
        Err(why) if why.kind() == ErrorKind::WouldBlock => Err(ErrorKind::TimedOut.into()),
        Err(why) => Err(why),
        Ok(_) => Ok(received),
    }
}

/// A connection, or EAGAIN at once if the agent's queue is full. UnixStream::connect would wait.
fn connect(path: &str) -> Result<UnixStream, Error> {
    const AF_UNIX: c_int = 1;
    const SOCK_STREAM_NONBLOCK_CLOEXEC: c_int = 1 | 0o4000 | 0o2000000;
    extern "C" {
        fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int;
        fn connect(descriptor: c_int, address: *const c_void, size: u32) -> c_int;
    }
    let mut address = [0u8; 110]; // struct sockaddr_un: the family, and 108 bytes of path
    address[..2].copy_from_slice(&(AF_UNIX as u16).to_ne_bytes());
    // check_config has seen that it fits, with a final zero.
    address[2..2 + path.len()].copy_from_slice(path.as_bytes());
    // SAFETY: both calls read `address` only, within its size; the descriptor is new and owned by
    // the stream alone.
    unsafe {
        let descriptor = socket(AF_UNIX, SOCK_STREAM_NONBLOCK_CLOEXEC, 0);
        if descriptor < 0 {
            return Err(Error::last_os_error());
        }
        let stream = UnixStream::from_raw_fd(descriptor);
        if connect(descriptor, address.as_ptr().cast(), address.len() as u32) != 0 {
            return Err(Error::last_os_error());
        }
        Ok(stream)
    }
}
