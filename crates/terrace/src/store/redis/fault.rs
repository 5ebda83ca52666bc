//! What an error of the server or of the connection means for the tier.

use crate::store::remote::Fault;
use redis::{ErrorKind, RedisError, ServerErrorKind};

/// By kind and code: the library's own grouping takes a timeout, READONLY and LOADING for the same thing, and knows no
/// NOREPLICAS and no OOM.
pub(super) fn classify(error: &RedisError) -> Fault {
    match error.kind() {
        ErrorKind::Io if error.is_timeout() => Fault::Timeout,
        ErrorKind::Io => Fault::Io,
        ErrorKind::AuthenticationFailed => Fault::Auth,
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => Fault::Protocol,
        ErrorKind::Server(ServerErrorKind::BusyLoading) => Fault::Loading,
        ErrorKind::Server(ServerErrorKind::ResponseError) => within(error.detail().unwrap_or_default()),
        _ => by_code(error.code().unwrap_or_default()),
    }
}

fn by_code(code: &str) -> Fault {
    match code {
        "READONLY" | "NOREPLICAS" | "MASTERDOWN" | "MISCONF" => Fault::ReadOnly,
        "NOPERM" | "NOAUTH" | "WRONGPASS" => Fault::Auth,
        "OOM" => Fault::Oom,
        "LOADING" => Fault::Loading,
        "MOVED" | "ASK" | "CLUSTERDOWN" | "TRYAGAIN" => Fault::Moved,
        _ => Fault::Other,
    }
}

/// What is wrong inside a script is mostly an error of the script, with the code in its text at best.
fn within(text: &str) -> Fault {
    if text.contains("The user executing the script") || text.contains("ACL failure in script") {
        return Fault::Auth;
    }
    let codes = ["READONLY", "NOREPLICAS", "MASTERDOWN", "MISCONF", "NOPERM", "NOAUTH", "OOM", "MOVED"];
    let said = |code: &&str| text.split('-').skip(1).any(|part| part.starts_with(code));
    codes.iter().find(|code| said(code)).map_or(Fault::Other, |code| by_code(code))
}

/// Whether the connection leads to a server that is no longer the one to ask, or to none.
pub(super) fn ends_connection(fault: Fault, error: &RedisError) -> bool {
    let code = error.code().unwrap_or_default();
    match fault {
        Fault::Timeout | Fault::Io | Fault::Protocol | Fault::Moved => true,
        Fault::ReadOnly => matches!(code, "READONLY" | "MASTERDOWN"),
        // A user whose password has changed has to log in again; one who lacks a right has not.
        Fault::Auth => code != "NOPERM",
        _ => false,
    }
}

/// Whether the connections to all nodes of a cluster are over: nothing is there any more that would make them anew.
pub(super) fn ends_all(error: &RedisError) -> bool {
    // What one node refuses, after the library has tried again, is no sign of it.
    error.is_connection_dropped() && !error.is_connection_refusal()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault_of(reply: &str) -> Fault {
        let value = redis::parse_redis_value(format!("-{reply}\r\n").as_bytes()).unwrap();
        classify(&value.extract_error().unwrap_err())
    }

    #[test]
    fn errors_of_the_server_are_told_apart() {
        for (reply, fault) in [
            ("READONLY You can't write against a read only replica.", Fault::ReadOnly),
            ("NOREPLICAS Not enough good replicas to write.", Fault::ReadOnly),
            ("MASTERDOWN Link with MASTER is down", Fault::ReadOnly),
            ("MISCONF Redis is configured to save RDB snapshots", Fault::ReadOnly),
            ("OOM command not allowed when used memory > 'maxmemory'.", Fault::Oom),
            ("LOADING Redis is loading the dataset in memory", Fault::Loading),
            ("NOPERM this user has no permissions", Fault::Auth),
            ("NOAUTH Authentication required.", Fault::Auth),
            ("WRONGPASS invalid username-password pair", Fault::Auth),
            ("MOVED 866 127.0.0.1:7001", Fault::Moved),
            ("ERR unknown command", Fault::Other),
            ("WRONGTYPE Operation against a key", Fault::Other),
        ] {
            assert_eq!(fault_of(reply), fault, "{reply}");
        }
    }

    #[test]
    fn nodes_are_left_when_nothing_keeps_their_connections() {
        use std::io::{self, ErrorKind};
        let of = |kind: ErrorKind| RedisError::from(io::Error::from(kind));
        assert!(ends_all(&of(ErrorKind::BrokenPipe)));
        assert!(!ends_all(&of(ErrorKind::TimedOut)) && !ends_all(&of(ErrorKind::ConnectionRefused)));
    }

    #[test]
    fn an_error_inside_a_script_is_found_in_its_text() {
        assert_eq!(fault_of("ERR The user executing the script can't run this command or subcommand"), Fault::Auth);
        assert_eq!(fault_of("ERR ACL failure in script: User app has no permissions"), Fault::Auth);
        let text = "ERR Error running script (call to f_12): @user_script:5: @user_script: 5: -";
        assert_eq!(fault_of(&format!("{text}OOM command not allowed")), Fault::Oom);
        assert_eq!(fault_of(&format!("{text}READONLY You can't write")), Fault::ReadOnly);
        assert_eq!(fault_of("ERR this is a read-only-ish OOM text"), Fault::Other);
    }
}
