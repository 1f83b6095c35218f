//! The server's side of WebSocket: the opening, and the frames that clients of
//! the benchmark send, whole and masked.

use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::os::fd::AsRawFd as _;

use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::{invalid, write_all_of, Input};

pub const TEXT: u8 = 0x1;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;
pub const PONG: u8 = 0xa;

/// The bit that says that a message ends with its frame.
const WHOLE: u8 = 0x80;
/// The bit beside the length that says that a mask follows it.
const MASKED: u8 = 0x80;

/// The response to a request with this key.
pub fn opening(key: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        derive_accept_key(key.as_bytes())
    )
}

/// What stands before a payload of this length.
pub fn head(opcode: u8, length: usize) -> Vec<u8> {
    let mut head = vec![WHOLE | opcode];
    if let Some(length) = u8::try_from(length).ok().filter(|it| *it < 126) {
        head.push(length);
    } else if let Ok(length) = u16::try_from(length) {
        head.push(126);
        head.extend_from_slice(&length.to_be_bytes());
    } else {
        head.push(127);
        head.extend_from_slice(&(length as u64).to_be_bytes());
    }
    head
}

/// Sends a frame in one system call.
pub fn send(stream: &TcpStream, opcode: u8, payload: &[&[u8]]) -> io::Result<()> {
    let head = head(opcode, payload.iter().map(|part| part.len()).sum());
    let mut parts = vec![&head[..]];
    parts.extend_from_slice(payload);
    write_all_of(stream, &parts)
}

pub enum Frame<'a> {
    Text(&'a str),
    Ping(&'a [u8]),
    Pong,
    Close(&'a [u8]),
}

impl Input {
    /// `None` when the connection ends between two frames.
    pub fn frame(&mut self, stream: &mut &TcpStream) -> io::Result<Option<Frame<'_>>> {
        self.buffer.drain(..self.used);
        self.used = 0;
        let (at, length) = loop {
            if let Some((at, length)) = payload_of(&self.buffer)? {
                if self.buffer.len() - at >= length {
                    break (at, length);
                }
            }
            if !self.more(stream)? {
                return Ok(None);
            }
        };
        self.used = at + length;
        let (head, rest) = self.buffer.split_at_mut(at);
        let payload = &mut rest[..length];
        for (byte, mask) in payload.iter_mut().zip(head[at - 4..].iter().cycle()) {
            *byte ^= mask;
        }
        Ok(Some(match head[0] & 0xf {
            TEXT => Frame::Text(
                std::str::from_utf8(payload).map_err(|_| invalid("a frame is not UTF-8"))?,
            ),
            PING => Frame::Ping(payload),
            PONG => Frame::Pong,
            CLOSE => Frame::Close(payload),
            _ => return Err(invalid("a frame has another opcode")),
        }))
    }

    /// Whether the client has sent something that was not given out.
    pub fn has_more(&self, stream: &TcpStream) -> io::Result<bool> {
        if self.buffer.len() > self.used {
            return Ok(true);
        }
        let mut of = libc::pollfd {
            fd: stream.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: the call reads and writes the one entry that it is given.
        let ready = unsafe { libc::poll(&mut of, 1, 0) };
        if ready < 0 {
            let error = io::Error::last_os_error();
            if error.kind() != ErrorKind::Interrupted {
                return Err(error);
            }
        }
        Ok(ready > 0)
    }
}

/// Where the payload of the first frame begins, and its length.
fn payload_of(bytes: &[u8]) -> io::Result<Option<(usize, usize)>> {
    let &[first, second, ref rest @ ..] = bytes else {
        return Ok(None);
    };
    if first & WHOLE == 0 || second & MASKED == 0 {
        return Err(invalid("a frame is no whole one, or is not masked"));
    }
    let wide = match second & !MASKED {
        126 => 2,
        127 => 8,
        length => return Ok(Some((2 + 4, usize::from(length)))),
    };
    let Some(length) = rest.get(..wide) else {
        return Ok(None);
    };
    let length = length
        .iter()
        .fold(0_usize, |length, byte| length << 8 | usize::from(*byte));
    Ok(Some((2 + wide + 4, length)))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use serde_json::Value;
    use tokio_tungstenite::tungstenite::{client, Message, WebSocket};

    use crate::serve_all;

    fn open(path: &str) -> WebSocket<std::net::TcpStream> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || serve_all(&listener));
        let stream = std::net::TcpStream::connect(address).unwrap();
        client(format!("ws://{address}{path}"), stream).unwrap().0
    }

    fn say(socket: &mut WebSocket<std::net::TcpStream>, text: &str) {
        socket.send(Message::text(text)).unwrap();
    }

    fn hear(socket: &mut WebSocket<std::net::TcpStream>) -> Vec<Value> {
        serde_json::from_str(socket.read().unwrap().to_text().unwrap()).unwrap()
    }

    const CONNECT: &str =
        r#"[{"channel":"/meta/connect","id":"7","clientId":"c","connectionType":"websocket"}]"#;
    const DISCONNECT: &str = r#"[{"channel":"/meta/disconnect","id":"8","clientId":"c"}]"#;

    #[test]
    fn a_connect_brings_its_events_in_one_frame() {
        let mut socket = open("/flood/10/1000/");
        for _ in 0..3 {
            say(&mut socket, CONNECT);
            let messages = hear(&mut socket);
            assert_eq!(messages.len(), 11);
            assert_eq!(messages[9]["channel"], "/flood/events");
            assert_eq!(messages[10]["channel"], "/meta/connect");
        }
    }

    #[test]
    fn frames_are_pushed_until_the_client_takes_its_leave() {
        for (shape, frames) in [("1/100", 3000), ("10/1000", 100), ("100/10000", 3)] {
            let mut socket = open(&format!("/pushed/{shape}/"));
            say(&mut socket, CONNECT);
            let events = hear(&mut socket).len();
            for _ in 0..frames {
                assert_eq!(hear(&mut socket).len(), events);
            }
            say(&mut socket, DISCONNECT);
            let last = loop {
                let messages = hear(&mut socket);
                if messages[0]["channel"] != "/flood/events" {
                    break messages;
                }
            };
            assert_eq!(last[0]["id"], "8");
            assert_eq!(last[1]["id"], "7");
            socket.close(None).unwrap();
            assert!(socket.read().unwrap().is_close());
        }
    }

    #[test]
    fn a_large_event_comes_once_and_pings_are_answered() {
        let mut socket = open("/idle/1000000/");
        say(&mut socket, CONNECT);
        assert_eq!(hear(&mut socket).len(), 1);
        socket.send(Message::Ping(vec![1; 125].into())).unwrap();
        assert_eq!(socket.read().unwrap(), Message::Pong(vec![1; 125].into()));
    }

    #[test]
    fn paced_events_go_to_one_held_connect() {
        let mut socket = open("/pace/1000/");
        say(&mut socket, CONNECT);
        for _ in 0..5 {
            assert!(hear(&mut socket)[0]["data"]["at"].is_u64());
        }
    }
}
