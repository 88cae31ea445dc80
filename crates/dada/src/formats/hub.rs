//! Weights from a model hub, kept in the hub's own cache, so that Python's libraries and this one share what either has fetched.
//!
//! The cache (`$HF_HOME/hub`) has `models--OWNER--NAME/refs/REVISION` with a commit, `snapshots/COMMIT/FILE` linking to
//! `blobs/CHECKSUM`. A file that is in the cache is used without asking whether the revision has moved since.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::error::{AtPath, Error, Result};
use crate::formats::download::{Download, agent, download};
use crate::formats::file::user_cache;

/// A file of a model: `owner/name[@revision][:file]`, by default `model.safetensors` of `main`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubFile {
    /// `owner/name`
    pub model: String,
    /// A branch, tag or commit.
    pub revision: String,
    /// Its path within the model.
    pub file: String,
}

impl FromStr for HubFile {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (rest, file) = text.split_once(':').unwrap_or((text, "model.safetensors"));
        let (model, revision) = rest.split_once('@').unwrap_or((rest, "main"));
        let two_parts = model.split('/').count() == 2;
        if !two_parts || ![model, revision, file].into_iter().all(is_plain_path) {
            return Err(Error::mismatch("hub file", format!("{text:?}"), "owner/name[@revision][:file]"));
        }
        Ok(Self { model: model.to_owned(), revision: revision.to_owned(), file: file.to_owned() })
    }
}

/// Whether a path stays below where it starts, and needs no escapes in an address.
fn is_plain_path(path: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    path.split('/').all(|part| !part.is_empty() && part != "." && part != ".." && part.bytes().all(plain))
}

/// Checksums that are known without asking the hub: (model, SHA-256 of `model.safetensors` of `main`).
const KNOWN: [(&str, &str); 2] = [
    ("timm/resnet18.tv_in1k", "694f673df6520a3158624e8a89af086f59923ee4cd7436fe5bc3bc71d295ad81"),
    ("timm/resnet50.tv_in1k", "5d061a3c593d795bfe682d9b152bafbcf550579873492def3515b46db1189888"),
];

/// Where the hub and its cache are.
#[derive(Clone, Debug)]
pub struct Hub {
    /// `https://huggingface.co` or a mirror's address
    pub endpoint: String,
    /// The folder that holds `models--…`
    pub cache: PathBuf,
    /// For models that are not public.
    pub token: Option<String>,
    /// Never use the network.
    pub offline: bool,
}

impl Hub {
    /// As the environment says: `HF_ENDPOINT`, `HF_HUB_CACHE` or `HF_HOME`, `HF_TOKEN` or the file a login left, `HF_HUB_OFFLINE`.
    ///
    /// # Errors
    /// When there is no home folder to keep a cache in.
    pub fn from_env() -> Result<Self> {
        let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let home = variable("HF_HOME").map(PathBuf::from).or_else(|| Some(user_cache()?.join("huggingface")));
        let home = home.ok_or_else(|| Error::Config("no home folder for the cache of weights: set HF_HOME".to_owned()))?;
        let login = || fs::read_to_string(home.join("token")).ok().map(|token| token.trim().to_owned()).filter(|token| !token.is_empty());
        Ok(Self {
            endpoint: variable("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned()).trim_end_matches('/').to_owned(),
            cache: variable("HF_HUB_CACHE").map_or_else(|| home.join("hub"), PathBuf::from),
            token: variable("HF_TOKEN").or_else(login),
            offline: variable("HF_HUB_OFFLINE").is_some_and(|value| ["1", "true", "yes", "on"].contains(&value.to_lowercase().as_str())),
        })
    }

    /// The file's place in the cache, after a download where it is not there. `progress` is told (bytes so far, bytes in all).
    ///
    /// # Errors
    /// When it is not in the cache and cannot be downloaded, with the address to fetch by hand; when its checksum differs.
    pub fn fetch(&self, file: &HubFile, progress: &mut dyn FnMut(u64, Option<u64>)) -> Result<PathBuf> {
        if let Some(path) = self.cached(file) {
            return Ok(path);
        }
        if self.offline {
            return Err(self.by_hand(file, "HF_HUB_OFFLINE is set"));
        }
        self.download(file, progress).map_err(|error| match error {
            Error::Network { problem, .. } => self.by_hand(file, &problem),
            other => other,
        })
    }

    /// The same, with the model's `config.json` of the same commit beside it where the model has one: it says what pre-processing the
    /// weights want.
    ///
    /// # Errors
    /// As [`Hub::fetch`]. Offline, a `config.json` that is not in the cache is done without.
    pub fn fetch_weights(&self, file: &HubFile, progress: &mut dyn FnMut(u64, Option<u64>)) -> Result<PathBuf> {
        let path = self.fetch(file, progress)?;
        let snapshot = path.ancestors().nth(file.file.split('/').count()).and_then(Path::file_name);
        let commit = snapshot.expect("a file in the cache lies in its commit's folder").to_string_lossy().into_owned();
        let name = Path::new(&file.file).with_file_name("config.json").to_string_lossy().into_owned();
        let config = HubFile { model: file.model.clone(), revision: commit, file: name };
        if self.offline {
            return Ok(path);
        }
        match self.fetch(&config, &mut |_, _| ()) {
            Ok(_) | Err(Error::Refused { status: 404, .. }) => Ok(path),
            Err(error) => Err(error),
        }
    }

    /// The file's place in the cache, where it is there.
    pub fn cached(&self, file: &HubFile) -> Option<PathBuf> {
        let model = self.model_folder(file);
        let commit = if is_commit(&file.revision) {
            file.revision.clone()
        } else {
            fs::read_to_string(model.join("refs").join(&file.revision)).ok()?.trim().to_owned()
        };
        let path = model.join("snapshots").join(is_commit(&commit).then_some(commit)?).join(&file.file);
        path.is_file().then_some(path)
    }

    fn model_folder(&self, file: &HubFile) -> PathBuf {
        self.cache.join(format!("models--{}", file.model.replace('/', "--")))
    }

    fn url(&self, file: &HubFile) -> String {
        format!("{}/{}/resolve/{}/{}", self.endpoint, file.model, file.revision.replace('/', "%2F"), file.file)
    }

    fn by_hand(&self, file: &HubFile, why: &str) -> Error {
        let HubFile { model, revision, file: name } = file;
        Error::Network {
            url: self.url(file),
            problem: format!(
                "{why}, and {name} of {model}@{revision} is not in the cache {}; fetch this address by hand and give the path of the file instead",
                self.cache.display()
            ),
        }
    }

    fn download(&self, file: &HubFile, progress: &mut dyn FnMut(u64, Option<u64>)) -> Result<PathBuf> {
        let url = self.url(file);
        let Description { commit, etag, length } = self.describe(&url)?;
        let model = self.model_folder(file);
        let blobs = model.join("blobs");
        let snapshot = model.join("snapshots").join(&commit).join(&file.file);
        let reference = model.join("refs").join(&file.revision);
        let locks = self.cache.join(".locks").join(model.file_name().expect("the name was put together above"));
        for folder in [Some(blobs.as_path()), snapshot.parent(), reference.parent(), Some(locks.as_path())].into_iter().flatten() {
            fs::create_dir_all(folder).at(folder)?;
        }
        // The lock that Python's library takes: two programs never write one blob.
        let lock_path = locks.join(format!("{etag}.lock"));
        let lock = File::create(&lock_path).at(&lock_path)?;
        lock.lock().at(&lock_path)?;

        let known = KNOWN.iter().find(|(model, _)| *model == file.model && file.revision == "main" && file.file == "model.safetensors");
        let checksum = known.map(|(_, checksum)| *checksum).or((etag.len() == 64).then_some(etag.as_str()));
        let blob = blobs.join(&etag);
        if !blob.exists() {
            let source = Download { url: &url, bearer: self.token.as_deref(), length, sha256: checksum };
            download(&source, &blob, progress)?;
        }
        if !snapshot.exists() {
            link(&blob, &snapshot, file.file.split('/').count() + 1)?;
        }
        if !is_commit(&file.revision) {
            fs::write(&reference, &commit).at(&reference)?;
        }
        Ok(snapshot)
    }

    /// Asks what a revision is at present, following redirects within the hub but not the one to where large files lie.
    fn describe(&self, url: &str) -> Result<Description> {
        let agent = agent(0);
        let mut address = url.to_owned();
        let mut description = Description { commit: String::new(), etag: String::new(), length: None };
        for _ in 0..5 {
            let mut request = agent.head(&address);
            if let Some(token) = &self.token {
                request = request.header("Authorization", format!("Bearer {token}"));
            }
            let failed = |problem: String| Error::Network { url: url.to_owned(), problem };
            let response = request.call().map_err(|error| failed(error.to_string()))?;
            let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
            let status = response.status().as_u16();
            if status >= 400 {
                return Err(Error::Refused { url: url.to_owned(), status });
            }
            if let Some(commit) = header("x-repo-commit") {
                description.commit = commit.to_owned();
            }
            if let Some(etag) = header("x-linked-etag").or(header("etag")) {
                description.etag = etag.trim_start_matches("W/").trim_matches('"').to_owned();
            }
            let length = if status < 300 { header("content-length") } else { None };
            description.length = header("x-linked-size").or(length).and_then(|length| length.parse().ok()).or(description.length);
            match header("location").filter(|location| location.starts_with('/') && !location.starts_with("//")) {
                Some(location) if status >= 300 => address = format!("{}{location}", self.endpoint),
                _ => break,
            }
        }
        // Both become names of files: a server may not choose any.
        let Description { commit, etag, .. } = &description;
        let is_name =
            |text: &str| !text.is_empty() && text.len() <= 128 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if !is_commit(commit) || !is_name(etag) {
            let found = format!("commit {commit:?} and checksum {etag:?}");
            return Err(Error::mismatch(format!("{url}: the hub's answer"), found, "a commit and a checksum"));
        }
        Ok(description)
    }
}

struct Description {
    commit: String,
    etag: String,
    length: Option<u64>,
}

fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Makes `snapshot`, `depth` folders below the model's, stand for `blob`: by a relative link as the hub's own library does, or a copy.
fn link(blob: &Path, snapshot: &Path, depth: usize) -> Result<()> {
    #[cfg(unix)]
    {
        let name = blob.file_name().expect("a blob has a name");
        let target: PathBuf = std::iter::repeat_n("..", depth).collect::<PathBuf>().join("blobs").join(name);
        std::os::unix::fs::symlink(target, snapshot).at(snapshot)
    }
    #[cfg(not(unix))]
    {
        _ = depth;
        fs::copy(blob, snapshot).at(snapshot).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::download::server::{Requests, file, response, serve};
    use sha2::{Digest, Sha256};

    const CONTENT: &[u8] = b"the weights of a network, as long as one likes to think";
    const CONFIG: &[u8] = br#"{"pretrained_cfg":{"mean":[0.5,0.5,0.5],"std":[0.5,0.5,0.5],"input_size":[3,224,224]}}"#;
    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    fn checksum() -> String {
        Sha256::digest(CONTENT).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// A hub with one model, whose large file lies elsewhere and whose connection breaks once.
    fn hub(cache: &Path, etag: String, offline: bool) -> (Hub, Requests) {
        let (endpoint, requests) = serve(move |request| match request[0].split(' ').collect::<Vec<_>>()[..] {
            ["head", "/old/model/resolve/main/model.safetensors", _] => response(
                "307 Temporary Redirect",
                &[("Location", "/timm/model/resolve/main/model.safetensors"), ("Content-Length", "0")],
                b"",
            ),
            ["head", "/timm/model/resolve/main/model.safetensors", _] => {
                let length = CONTENT.len().to_string();
                let headers = [("X-Repo-Commit", COMMIT), ("X-Linked-ETag", &format!("\"{etag}\"")), ("X-Linked-Size", &length)];
                response(
                    "302 Found",
                    &[&headers[..], &[("Location", "http://127.0.0.1:1/elsewhere"), ("Content-Length", "0")]].concat(),
                    b"",
                )
            }
            ["get", path, _] if path.ends_with("/model/resolve/main/model.safetensors") => {
                response("302 Found", &[("Location", "/elsewhere"), ("Content-Length", "0")], b"")
            }
            ["head" | "get", path, _] if path.ends_with("/config.json") => {
                let length = CONFIG.len().to_string();
                let headers = [("X-Repo-Commit", COMMIT), ("ETag", "W/\"8d6f2c\""), ("Content-Length", &length)];
                response("200 OK", &headers, if request[0].starts_with("get") { CONFIG } else { b"" })
            }
            ["get", "/elsewhere", _] => file(request, CONTENT, 40),
            _ => response("404 Not Found", &[("Content-Length", "0")], b""),
        });
        (Hub { endpoint, cache: cache.to_owned(), token: Some("secret".to_owned()), offline }, requests)
    }

    fn fetch(hub: &Hub, file: &str) -> Result<PathBuf> {
        hub.fetch(&file.parse().unwrap(), &mut |_, _| ())
    }

    #[test]
    fn a_file_is_fetched_once_into_the_hubs_own_layout() {
        let cache = tempfile::tempdir().unwrap();
        let (online, requests) = hub(cache.path(), checksum(), false);
        let path = fetch(&online, "timm/model").unwrap();
        let model = cache.path().join("models--timm--model");
        assert_eq!(path, model.join("snapshots").join(COMMIT).join("model.safetensors"));
        assert_eq!(fs::read(&path).unwrap(), CONTENT);
        assert_eq!(fs::read_to_string(model.join("refs/main")).unwrap(), COMMIT);
        assert_eq!(fs::read_dir(model.join("blobs")).unwrap().count(), 1);
        assert_eq!(fs::read(model.join("blobs").join(checksum())).unwrap(), CONTENT);
        #[cfg(unix)]
        assert_eq!(fs::read_link(&path).unwrap(), Path::new("../../blobs").join(checksum()));
        assert!(requests.lock().unwrap()[0].contains(&"authorization: bearer secret".to_owned()));

        let before = requests.lock().unwrap().len();
        let offline = Hub { offline: true, ..online };
        assert_eq!(fetch(&offline, "timm/model").unwrap(), path);
        assert_eq!(fetch(&offline, &format!("timm/model@{COMMIT}")).unwrap(), path);
        assert_eq!(requests.lock().unwrap().len(), before);
    }

    #[test]
    fn the_config_comes_with_the_weights() {
        let cache = tempfile::tempdir().unwrap();
        let (hub, requests) = hub(cache.path(), checksum(), false);
        let fetch = || hub.fetch_weights(&"timm/model".parse().unwrap(), &mut |_, _| ()).unwrap();
        assert_eq!(fs::read(fetch().with_file_name("config.json")).unwrap(), CONFIG);
        let before = requests.lock().unwrap().len();
        fetch();
        assert_eq!(requests.lock().unwrap().len(), before);
    }

    #[test]
    fn a_model_that_was_renamed_is_found() {
        let cache = tempfile::tempdir().unwrap();
        let (hub, _) = hub(cache.path(), checksum(), false);
        assert_eq!(fs::read(fetch(&hub, "old/model").unwrap()).unwrap(), CONTENT);
    }

    #[test]
    fn offline_says_what_to_fetch_by_hand() {
        let cache = tempfile::tempdir().unwrap();
        let (hub, requests) = hub(cache.path(), checksum(), true);
        let message = fetch(&hub, "timm/model").unwrap_err().to_string();
        assert!(message.contains("/timm/model/resolve/main/model.safetensors") && message.contains("by hand"), "{message}");
        assert!(message.contains("HF_HUB_OFFLINE") && requests.lock().unwrap().is_empty());
        let unreachable = Hub { endpoint: "http://127.0.0.1:1".to_owned(), offline: false, ..hub };
        let message = fetch(&unreachable, "timm/model").unwrap_err().to_string();
        assert!(
            message.contains("http://127.0.0.1:1/timm/model/resolve/main/model.safetensors") && message.contains("by hand"),
            "{message}"
        );
    }

    #[test]
    fn damage_and_refusals_leave_nothing_that_looks_whole() {
        let cache = tempfile::tempdir().unwrap();
        let (damaged, _) = hub(cache.path(), "0".repeat(64), false);
        assert!(fetch(&damaged, "timm/model").unwrap_err().to_string().contains("SHA-256"));
        assert!(damaged.cached(&"timm/model".parse().unwrap()).is_none());
        assert!(fetch(&damaged, "timm/model:other.safetensors").unwrap_err().to_string().contains("404"));
        let (hostile, _) = hub(cache.path(), "../../../etc/passwd".to_owned(), false);
        assert!(fetch(&hostile, "timm/model").unwrap_err().to_string().contains("the hub's answer"));
    }

    #[test]
    fn names_are_read_and_paths_that_leave_the_cache_refused() {
        let file: HubFile = "timm/resnet50.tv_in1k@refs/pr/1:sub/model.pth".parse().unwrap();
        let parts = [file.model, file.revision, file.file];
        assert_eq!(parts, ["timm/resnet50.tv_in1k", "refs/pr/1", "sub/model.pth"]);
        for wrong in ["resnet50", "a/b/c", "a/..", "a/b@", "a/b@../..", "a/b:/etc/passwd", "a/b:x/../../y", "a/b c"] {
            assert!(wrong.parse::<HubFile>().is_err(), "{wrong}");
        }
    }
}
