//! Downloads from a hub that go on where an earlier attempt stopped.

use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use ureq::http::Response;

use crate::archive::MAX_MEMBER_BYTES;
use crate::error::WeightsError;
use crate::hub::{ATTEMPTS, Failure, Hub, HubFile, encode, pause};
use crate::progress::Progress;

impl Hub {
    /// Downloads a file of `repo` at `commit` to `partial`, going on where an earlier attempt
    /// stopped, in this process or one that was killed.
    pub(crate) fn download(
        &self,
        repo: &str,
        commit: &str,
        path: &str,
        expected: &HubFile,
        partial: &Path,
        progress: &Progress,
    ) -> Result<(), WeightsError> {
        let url = format!("{}/{repo}/resolve/{commit}/{}", self.endpoint, encode(path, true));
        let mut fruitless = 0;
        let mut furthest = length(partial);
        if furthest > 0 && expected.size == Some(furthest) {
            return Ok(());
        }
        loop {
            let failure = match self.continue_download(&url, repo, expected, partial, progress) {
                Ok(()) => return Ok(()),
                Err(Stopped::Local(error)) => return Err(error),
                Err(Stopped::Remote(failure)) => failure,
            };
            // Only bytes that were never reached before count as success.
            fruitless = if length(partial) > furthest { 1 } else { fruitless + 1 };
            furthest = furthest.max(length(partial));
            if !failure.retry || fruitless >= ATTEMPTS {
                return Err(WeightsError::Download { what: format!("{path} of hf:{repo}"), reason: failure.reason });
            }
            pause(fruitless);
        }
    }

    /// One request, appended to what `partial` holds. `Ok` when the file is whole.
    fn continue_download(
        &self,
        url: &str,
        repo: &str,
        expected: &HubFile,
        partial: &Path,
        progress: &Progress,
    ) -> Result<(), Stopped> {
        let mut have = length(partial);
        if expected.size.is_some_and(|size| have > size) {
            have = 0;
        }
        let mut response = self.get(url, have)?;
        if response.status() == 416 {
            // What is here cannot be a beginning of that file.
            let _ = fs::remove_file(partial);
            return Err(Failure::again("the hub's file is shorter than announced: try again later").into());
        }
        self.check(&response, repo)?;
        if !resumes_at(&response, have) {
            have = 0;
        }
        let announced = header(&response, "content-length").and_then(|text| text.parse().ok());
        let total = expected.size.or(announced.map(|rest: u64| rest.saturating_add(have)));
        let local = |doing| move |error| Stopped::Local(WeightsError::io(doing, partial)(error));
        let mut file =
            OpenOptions::new().create(true).write(true).truncate(false).open(partial).map_err(local("create"))?;
        file.set_len(have).map_err(local("write"))?;
        file.seek(SeekFrom::End(0)).map_err(local("write"))?;
        let mut body = response.body_mut().with_config().limit(u64::MAX).reader();
        let mut buffer = vec![0; 1 << 18];
        loop {
            progress.set(have);
            let count = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) => return Err(Failure::connection(error).into()),
            };
            have += count as u64;
            if have > total.unwrap_or(MAX_MEMBER_BYTES) {
                let _ = fs::remove_file(partial);
                let reason = "the hub sends more than it announced; try again later";
                return Err(Failure::forever(reason).into());
            }
            file.write_all(&buffer[..count]).map_err(local("write"))?;
        }
        match total {
            Some(total) if have < total => {
                let reason = format!("the connection broke after {have} of {total} bytes; run again to resume");
                Err(Failure::again(reason).into())
            }
            _ => Ok(()),
        }
    }
}

/// Why a download stopped: something here, or something there.
enum Stopped {
    Local(WeightsError),
    Remote(Failure),
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Self::Remote(failure)
    }
}

/// Whether the answer continues at byte `from`, rather than sending the file anew.
fn resumes_at(response: &Response<ureq::Body>, from: u64) -> bool {
    let expected = format!("bytes {from}-");
    response.status() == 206 && header(response, "content-range").is_some_and(|range| range.starts_with(&expected))
}

fn header<'a>(response: &'a Response<ureq::Body>, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |meta| meta.len())
}
