//! Downloads that may be interrupted: what has arrived is kept beside the destination and continued by the next attempt.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use sha2::{Digest, Sha256};
use ureq::Agent;
use ureq::config::RedirectAuthHeaders;

use crate::error::{AtPath, Error, Result};

/// What to fetch, and what is known of it.
#[derive(Clone, Copy, Debug)]
pub struct Download<'a> {
    /// `https://…`
    pub url: &'a str,
    /// A token, sent to the address's own host only.
    pub bearer: Option<&'a str>,
    /// Size in bytes.
    pub length: Option<u64>,
    /// Lower-case hexadecimal.
    pub sha256: Option<&'a str>,
}

/// How often a connection that broke is taken up again within one call.
const ATTEMPTS: u32 = 5;

/// Fetches `source` to `path`, which appears only when it is complete and its size and checksum are right. `progress` is told how many
/// bytes there are, and of how many where the server says so.
///
/// # Errors
/// When the server cannot be reached or refuses (what has arrived stays for the next call), when size or checksum differ (what has
/// arrived is deleted), and when the disk cannot be written to.
pub fn download(source: &Download<'_>, path: &Path, progress: &mut dyn FnMut(u64, Option<u64>)) -> Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".incomplete");
    let partial = PathBuf::from(partial);
    let agent = agent(10);
    let mut attempt = 1;
    while let Err(error) = transfer(&agent, source, &partial, progress) {
        if !matches!(error, Error::Network { .. }) || attempt == ATTEMPTS || !partial.exists() {
            return Err(error);
        }
        thread::sleep(Duration::from_millis(100 << attempt));
        attempt += 1;
    }
    if let Err(error) = verify(source, &partial) {
        fs::remove_file(&partial).at(&partial)?;
        return Err(error);
    }
    fs::rename(&partial, path).at(path)
}

/// A client that gives up on silence and tells statuses apart itself.
pub(crate) fn agent(redirects: u32) -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(redirects)
        .max_redirects_will_error(redirects > 0)
        .redirect_auth_headers(RedirectAuthHeaders::SameHost)
        .timeout_connect(Some(Duration::from_secs(20)))
        .timeout_per_read(Some(Duration::from_secs(60)))
        .user_agent(concat!("dada/", env!("CARGO_PKG_VERSION")))
        .build()
        .new_agent()
}

/// One connection: appends what is missing to `partial`.
fn transfer(agent: &Agent, source: &Download<'_>, partial: &Path, progress: &mut dyn FnMut(u64, Option<u64>)) -> Result<()> {
    let failed = |problem: String| Error::Network { url: source.url.to_owned(), problem };
    let present = fs::metadata(partial).map_or(0, |metadata| metadata.len());
    if source.length == Some(present) {
        return Ok(());
    }
    let mut request = agent.get(source.url);
    if let Some(token) = source.bearer {
        request = request.header("Authorization", format!("Bearer {token}"));
    }
    if present > 0 {
        request = request.header("Range", format!("bytes={present}-"));
    }
    let response = request.call().map_err(|error| failed(error.to_string()))?;
    let status = response.status().as_u16();
    let continues = response.headers().get("content-range").and_then(|range| range.to_str().ok());
    let mut done = match status {
        200 => 0,
        206 if continues.is_some_and(|range| range.starts_with(&format!("bytes {present}-"))) => present,
        416 | 206 if present > 0 => {
            // What is here is longer than the file, or the server answers with another part of it: start again.
            fs::remove_file(partial).at(partial)?;
            return transfer(agent, source, partial, progress);
        }
        _ => return Err(Error::Refused { url: source.url.to_owned(), status }),
    };
    let remaining: Option<u64> = response.headers().get("content-length").and_then(|length| length.to_str().ok()?.parse().ok());
    let total = source.length.or(remaining.map(|remaining| done + remaining));
    let mut file = OpenOptions::new().create(true).write(true).append(done > 0).truncate(done == 0).open(partial).at(partial)?;
    let mut body = response.into_body().into_reader();
    let mut buffer = vec![0; 1 << 17];
    progress(done, total);
    loop {
        let count = match body.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed(format!("broke off after {done} bytes: {error}"))),
        };
        file.write_all(&buffer[..count]).at(partial)?;
        done += count as u64;
        if source.length.is_some_and(|length| done > length) {
            break;
        }
        progress(done, total);
    }
    match total {
        Some(total) if done < total => Err(failed(format!("broke off after {done} of {total} bytes"))),
        _ => file.sync_all().at(partial),
    }
}

fn verify(source: &Download<'_>, partial: &Path) -> Result<()> {
    let length = fs::metadata(partial).at(partial)?.len();
    if let Some(expected) = source.length.filter(|&expected| expected != length) {
        return Err(Error::mismatch(format!("{}: size", source.url), length, format!("{expected} bytes")));
    }
    let Some(expected) = source.sha256 else { return Ok(()) };
    let found = sha256(partial)?;
    if found == expected { Ok(()) } else { Err(Error::mismatch(format!("{}: SHA-256", source.url), found, expected)) }
}

/// A file's SHA-256 in lower-case hexadecimal.
///
/// # Errors
/// When it cannot be read.
pub fn sha256(path: &Path) -> Result<String> {
    let mut hasher = Sha256::new();
    io::copy(&mut File::open(path).at(path)?, &mut hasher).at(path)?;
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A server for tests: one file, with redirects, ranges and connections that break.
#[cfg(test)]
pub(crate) mod server {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::sync::{Arc, Mutex};
    use std::thread;

    /// A request's first line and headers, lower case.
    pub type Requests = Arc<Mutex<Vec<Vec<String>>>>;

    /// Answers every request with what `answer` makes of it, until the test ends; returns the address and the requests so far.
    pub fn serve(answer: impl Fn(&[String]) -> Vec<u8> + Send + 'static) -> (String, Requests) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests = Requests::default();
        let seen = Arc::clone(&requests);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let lines: Vec<_> = lines.map(|line| line.unwrap().to_lowercase()).take_while(|line| !line.is_empty()).collect();
                seen.lock().unwrap().push(lines.clone());
                _ = stream.write_all(&answer(&lines));
            }
        });
        (address, requests)
    }

    pub fn response(status: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        [format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n").as_bytes(), body].concat()
    }

    /// A file by range, of which one connection carries at most `most` bytes before it breaks.
    pub fn file(request: &[String], content: &[u8], most: usize) -> Vec<u8> {
        let start = request.iter().find_map(|line| line.strip_prefix("range: bytes=")?.trim_end_matches('-').parse().ok()).unwrap_or(0);
        if start > 0 && start >= content.len() {
            return response("416 Range Not Satisfiable", &[("Content-Length", "0")], b"");
        }
        let rest = &content[start..];
        let length = rest.len().to_string();
        let range = format!("bytes {start}-{}/{}", content.len() - 1, content.len());
        let sent = &rest[..rest.len().min(most)];
        match start {
            0 => response("200 OK", &[("Content-Length", &length)], sent),
            _ => response("206 Partial Content", &[("Content-Length", &length), ("Content-Range", &range)], sent),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::server::{file, response, serve};
    use super::*;

    const CONTENT: &[u8] = b"a file of some length that does not fit through one connection";

    fn checksum() -> String {
        Sha256::digest(CONTENT).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn fetch(url: &str, sha256: &str, path: &Path) -> Result<Vec<u64>> {
        let mut steps = Vec::new();
        download(&Download { url, bearer: None, length: None, sha256: Some(sha256) }, path, &mut |done, total| {
            assert_eq!(total, Some(CONTENT.len() as u64));
            steps.push(done);
        })?;
        Ok(steps)
    }

    #[test]
    fn a_broken_connection_is_taken_up_where_it_broke() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let (url, requests) = serve(|request| file(request, CONTENT, 30));
        let steps = fetch(&url, &checksum(), &path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), CONTENT);
        assert_eq!(steps.last(), Some(&(CONTENT.len() as u64)));
        let requests = requests.lock().unwrap();
        let ranges: Vec<_> = requests.iter().map(|request| request.iter().find_map(|line| line.strip_prefix("range: "))).collect();
        assert_eq!(ranges, [None, Some("bytes=30-"), Some("bytes=60-")]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing incomplete is left");
    }

    #[test]
    fn what_an_earlier_run_left_is_continued_and_what_is_too_long_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let (url, requests) = serve(|request| file(request, CONTENT, usize::MAX));
        fs::write(folder.path().join("file.incomplete"), &CONTENT[..10]).unwrap();
        assert_eq!(fetch(&url, &checksum(), &path).unwrap()[0], 10);
        assert_eq!(fs::read(&path).unwrap(), CONTENT);
        fs::write(folder.path().join("file.incomplete"), [CONTENT, CONTENT].concat()).unwrap();
        assert_eq!(fetch(&url, &checksum(), &path).unwrap()[0], 0);
        assert_eq!(fs::read(&path).unwrap(), CONTENT);
        assert_eq!(requests.lock().unwrap().len(), 3);
    }

    #[test]
    fn a_server_without_ranges_starts_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let length = CONTENT.len().to_string();
        let (url, _) = serve(move |_| response("200 OK", &[("Content-Length", &length)], CONTENT));
        fs::write(folder.path().join("file.incomplete"), &CONTENT[..10]).unwrap();
        assert_eq!(fetch(&url, &checksum(), &path).unwrap()[0], 0);
        assert_eq!(fs::read(&path).unwrap(), CONTENT);
    }

    #[test]
    fn another_content_is_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let (url, _) = serve(|request| file(request, CONTENT, usize::MAX));
        let message = fetch(&url, &"0".repeat(64), &path).unwrap_err().to_string();
        assert!(message.contains("SHA-256") && message.contains(&checksum()), "{message}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_refusal_is_told_with_its_status_and_not_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let (url, requests) = serve(|_| response("403 Forbidden", &[("Content-Length", "0")], b""));
        let message = fetch(&url, &checksum(), &folder.path().join("file")).unwrap_err().to_string();
        assert!(message.contains("403") && message.contains(&url), "{message}");
        assert_eq!(requests.lock().unwrap().len(), 1);
    }
}
