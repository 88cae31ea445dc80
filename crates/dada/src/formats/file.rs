//! Files from outside, whose size is looked at before memory is taken, files that appear whole or not at all, and the user's cache folder.

use std::fs::{self, File, rename};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;
use etcetera::base_strategy::Xdg;
use memmap2::Mmap;
use tempfile::TempPath;

use crate::error::{AtPath, Error, Result};

/// Reads a whole file unless it is longer than `limit` bytes.
///
/// # Errors
/// [`Error::Io`] when the file cannot be read, [`Error::Format`] when it is a folder or too long.
pub fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let file = File::open(path).at(path)?;
    let metadata = file.metadata().at(path)?;
    if metadata.is_dir() {
        return Err(Error::format(path, "found a folder, expected a file"));
    }
    if metadata.len() > limit {
        return Err(too_long(path, limit));
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize + 1);
    // A device or a pipe has no length: the limit has to hold while reading too.
    file.take(limit + 1).read_to_end(&mut bytes).at(path)?;
    if bytes.len() as u64 > limit {
        return Err(too_long(path, limit));
    }
    Ok(bytes)
}

/// The bytes of a regular file of at most `limit` bytes, without a copy of them in memory.
///
/// # Errors
/// [`Error::Io`] when the file cannot be read, [`Error::Format`] when it is a folder, a device or a pipe, or too long.
pub fn map_bounded(path: &Path, limit: u64) -> Result<Mmap> {
    let (file, length) = open_regular(path)?;
    if length > limit {
        return Err(too_long(path, limit));
    }
    // SAFETY: a map is sound as long as nobody changes the file below it. Whatever this library and the hub's libraries write appears by
    // a rename and is never written to again, so that the file of a map stays as it is even when another takes its name. Maps live only
    // while a file is read: should another program truncate it within that time, the system ends this one, and no memory is damaged.
    unsafe { Mmap::map(&file) }.at(path)
}

/// Opens a regular file, and says how many bytes it has.
///
/// # Errors
/// [`Error::Io`] when the file cannot be opened, [`Error::Format`] when it is a folder, a device or a pipe.
pub fn open_regular(path: &Path) -> Result<(File, u64)> {
    // Before it is opened: to open a pipe is to wait for somebody who writes into it.
    let metadata = fs::metadata(path).at(path)?;
    if metadata.is_dir() {
        return Err(Error::format(path, "found a folder, expected a file"));
    }
    if !metadata.is_file() {
        return Err(Error::format(path, "found a device or a pipe, expected a regular file"));
    }
    Ok((File::open(path).at(path)?, metadata.len()))
}

fn too_long(path: &Path, limit: u64) -> Error {
    Error::format(path, format!("found more than {limit} bytes, which is the most that is read"))
}

/// A file in the making, under a hidden name beside its future place. Dropped before [`Partial::keep`], it leaves nothing behind.
pub struct Partial {
    file: BufWriter<File>,
    from: TempPath,
    to: PathBuf,
}

impl Partial {
    /// An empty file.
    ///
    /// # Errors
    /// For a path without a file name, and for a folder that cannot be written to.
    pub fn create(to: &Path) -> Result<Self> {
        let name = to.file_name().ok_or_else(|| Error::format(to, "found no file name"))?.to_string_lossy();
        let from = to.with_file_name(format!(".{name}.{}.partial", std::process::id()));
        let file = BufWriter::with_capacity(1 << 18, File::create(&from).at(to)?);
        let from = TempPath::try_from_path(from).at(to)?;
        Ok(Self { file, from, to: to.to_owned() })
    }

    /// Its future place.
    pub fn path(&self) -> &Path {
        &self.to
    }

    /// # Errors
    /// When the disk is full, for example.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).at(&self.to)
    }

    /// Replaces the first bytes by as many others.
    ///
    /// # Errors
    /// When the disk is full, for example.
    pub fn overwrite_start(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.seek(SeekFrom::Start(0)).at(&self.to)?;
        self.append(bytes)
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// When the disk is full, for example.
    pub fn keep(mut self) -> Result<()> {
        self.file.flush().at(&self.to)?;
        self.file.get_ref().sync_all().at(&self.to)?;
        rename(&self.from, &self.to).at(&self.to)
    }
}

impl Write for Partial {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Writes a file that appears whole or not at all.
///
/// # Errors
/// For a folder that cannot be written to, and when the disk is full, for example.
pub fn write_whole(path: &Path, content: &[u8]) -> Result<()> {
    let mut file = Partial::create(path)?;
    file.append(content)?;
    file.keep()
}

/// The folder for what can be made or fetched again: `$XDG_CACHE_HOME`, or `.cache` in the home folder, whatever the system, as the hub's
/// own libraries do. Nothing where there is no home folder.
pub fn user_cache() -> Option<PathBuf> {
    Xdg::new().ok().map(|folders| folders.cache_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_pipes_and_long_files_are_refused_before_memory_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let refused = |limit: u64| {
            let problem = read_bounded(&path, limit).unwrap_err().to_string();
            assert_eq!(map_bounded(&path, limit).unwrap_err().to_string(), problem);
            problem
        };
        assert!(refused(1).contains("No such file"));
        // A file of 512 GiB that takes no room on the disk.
        File::create(&path).unwrap().set_len(1 << 39).unwrap();
        assert!(refused((1 << 39) - 1).contains("more than 549755813887 bytes"));
        fs::write(&path, [7; 11]).unwrap();
        assert!(refused(10).contains("more than 10 bytes"));
        assert_eq!(read_bounded(&path, 11).unwrap(), map_bounded(&path, 11).unwrap()[..]);
        fs::write(&path, []).unwrap();
        assert!(map_bounded(&path, 0).unwrap().is_empty());
        for problem in [read_bounded(folder.path(), 10).unwrap_err(), map_bounded(folder.path(), 10).unwrap_err()] {
            assert!(problem.to_string().contains("found a folder"), "{problem}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_device_is_read_up_to_the_limit_and_never_mapped() {
        let endless = Path::new("/dev/zero");
        assert!(read_bounded(endless, 1000).unwrap_err().to_string().contains("more than 1000 bytes"));
        assert!(map_bounded(endless, 1000).unwrap_err().to_string().contains("expected a regular file"));
    }
}
