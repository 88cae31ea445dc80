//! Getting the public data sets: what may be downloaded is downloaded, checked and unpacked, for the rest there is a description.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use md5::{Digest, Md5};

use crate::error::{AtPath, Error, Result};
use crate::formats::download::{Download, download};

/// A public data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The source's name in configurations.
    pub name: &'static str,
    /// What it is.
    pub title: &'static str,
    /// The terms of use, as far as they are stated.
    pub terms: &'static str,
    /// How to get it.
    pub way: Way,
}

/// How to get a data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// These archives are downloaded and unpacked.
    Download(Vec<Archive>),
    /// Where a person has to get it, and how to lay it out.
    ByHand(&'static str),
}

/// An archive on a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archive {
    /// Its address.
    pub url: String,
    /// Its size in bytes, where known.
    pub length: Option<u64>,
    /// Its MD5 checksum in lower-case hexadecimal; the publishers state no other.
    pub md5: String,
    /// The folder that unpacking it gives.
    pub folder: String,
    /// How it is packed.
    pub packing: Packing,
}

/// How an archive is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// tar, compressed with gzip.
    TarGz,
    /// ZIP.
    Zip,
}

/// Every data set that can be asked for.
pub fn offers() -> Vec<Offer> {
    let omniglot = |part: &str, md5: &str| Archive {
        url: format!("https://github.com/brendenlake/omniglot/raw/master/python/images_{part}.zip"),
        length: None,
        md5: md5.to_owned(),
        folder: format!("images_{part}"),
        packing: Packing::Zip,
    };
    let cub = Archive {
        url: "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz".to_owned(),
        length: Some(1_150_585_339),
        md5: "97eceeb196236b17998738112f37df78".to_owned(),
        folder: "CUB_200_2011".to_owned(),
        packing: Packing::TarGz,
    };
    vec![
        Offer {
            name: "cub200",
            title: "Caltech-UCSD Birds 200 (2011): 200 bird species, 11,788 pictures",
            terms: "non-commercial research and education only",
            way: Way::Download(vec![cub]),
        },
        Offer {
            name: "omniglot",
            title: "Omniglot: 1,623 handwritten characters of 50 alphabets, 32,460 drawings",
            terms: "MIT",
            way: Way::Download(vec![
                omniglot("background", "68d2efa1b9178cc56df9314c21c6e718"),
                omniglot("evaluation", "6b91aef0f799c5bb55b94e3f2daec811"),
            ]),
        },
        Offer {
            name: "cars196",
            title: "Stanford Cars (CARS196): 196 models, 16,185 pictures",
            terms: "research",
            way: Way::ByHand(
                "The publisher's addresses no longer answer. Kaggle has copies: `jessicali9530/stanford-cars-dataset` (put cars_train, cars_test \
                 and the annotations cars_train_annos.mat and cars_test_annos_withlabels.mat into one folder) or \
                 `jutrera/stanford-car-dataset-by-classes-folder` (keep car_data and names.csv together). MD5: cars_train.tgz \
                 065e5b463ae28d29e77c1b4b166cfe61, cars_test.tgz 4ce7ebf6a94d07f1952d94dd34c4d501, cars_test_annos_withlabels.mat \
                 b0a2b23655a3edd16d84508592a98d10.",
            ),
        },
        Offer {
            name: "sop",
            title: "Stanford Online Products: 22,634 products, 120,053 pictures",
            terms: "not stated",
            way: Way::ByHand(
                "Fetch ftp://cs.stanford.edu/cs/cvgl/Stanford_Online_Products.zip (2.87 GiB, MD5 7f73d41a2f44250d4779881525aea32e), for instance \
                 with `curl -C - -O`, and unpack it.",
            ),
        },
        Offer {
            name: "inshop",
            title: "DeepFashion In-Shop Clothes Retrieval: 7,982 items, 52,712 pictures",
            terms: "non-commercial research only",
            way: Way::ByHand(
                "Ask for access at mmlab.ie.cuhk.edu.hk/projects/DeepFashion/InShopRetrieval.html. Unpack img.zip, not the high-resolution one, \
                 beside list_eval_partition.txt.",
            ),
        },
    ]
}

/// The data set of that name.
///
/// # Errors
/// [`Error::Config`] with the names that there are.
pub fn offer(name: &str) -> Result<Offer> {
    let offers = offers();
    let names: Vec<&str> = offers.iter().map(|offer| offer.name).collect();
    let unknown = || Error::Config(format!("found the data set {name:?}, expected one of {}", names.join(", ")));
    offers.iter().find(|offer| offer.name == name).cloned().ok_or_else(unknown)
}

impl fmt::Display for Offer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{}\nterms of use: {}", self.title, self.terms)?;
        match &self.way {
            Way::ByHand(how) => writeln!(out, "It cannot be downloaded from here. {how}"),
            Way::Download(archives) => archives.iter().try_for_each(|Archive { url, length, md5, .. }| {
                let size = length.map_or("size not stated".to_owned(), |length| format!("{:.1} MB", length as f64 / 1e6));
                writeln!(out, "{url} ({size}, MD5 {md5})")
            }),
        }
    }
}

/// What is being done with an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveStatus {
    /// So many bytes of as many have arrived.
    Downloading(u64, Option<u64>),
    /// The checksum is being computed.
    Verifying,
    /// It is being unpacked.
    Unpacking,
    /// Its folder was there already: nothing is done.
    Present,
}

/// Downloads a data set's archives into `folder` and unpacks them there; the archives are deleted after that. An interrupted download
/// is continued by the next call, and a folder that is there is left alone.
///
/// # Errors
/// [`Error::Data`] with the description for a data set that has to be fetched by hand, otherwise those of the download, of the disk,
/// [`Error::Mismatch`] for another checksum and [`Error::Format`] for a malformed archive.
pub fn fetch(offer: &Offer, folder: &Path, progress: &mut dyn FnMut(&Archive, ArchiveStatus)) -> Result<()> {
    let Way::Download(archives) = &offer.way else { return Err(Error::Data(offer.to_string().trim_end().to_owned())) };
    fs::create_dir_all(folder).at(folder)?;
    for archive in archives {
        let goal = folder.join(&archive.folder);
        if goal.exists() {
            progress(archive, ArchiveStatus::Present);
            continue;
        }
        let packed = folder.join(archive.url.rsplit('/').next().unwrap_or(&archive.folder));
        if !packed.exists() {
            let source = Download { url: &archive.url, bearer: None, length: archive.length, sha256: None };
            download(&source, &packed, &mut |done, total| progress(archive, ArchiveStatus::Downloading(done, total)))?;
        }
        progress(archive, ArchiveStatus::Verifying);
        let found = md5_of(&packed)?;
        if found != archive.md5 {
            fs::remove_file(&packed).at(&packed)?;
            return Err(Error::mismatch(format!("{}: MD5 (what arrived is deleted)", archive.url), found, &archive.md5));
        }
        progress(archive, ArchiveStatus::Unpacking);
        // Into a folder of its own first, so that the data set's folder is there only when it is complete.
        let unfinished = tempfile::Builder::new().prefix(".unpacking-").tempdir_in(folder).at(folder)?;
        unpack(&packed, archive.packing, unfinished.path())?;
        let made = unfinished.path().join(&archive.folder);
        if !made.is_dir() {
            return Err(Error::format(packed, format!("found no folder {}, expected it in the archive", archive.folder)));
        }
        fs::rename(&made, &goal).at(&goal)?;
        fs::remove_file(&packed).at(&packed)?;
    }
    Ok(())
}

fn md5_of(path: &Path) -> Result<String> {
    let mut hasher = Md5::new();
    io::copy(&mut File::open(path).at(path)?, &mut hasher).at(path)?;
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Unpacks plain files and folders; anything else, and any name that leads outside, is left out.
fn unpack(packed: &Path, packing: Packing, into: &Path) -> Result<()> {
    let malformed = |error: &dyn fmt::Display| Error::format(packed, format!("damaged archive: {error}"));
    let file = BufReader::new(File::open(packed).at(packed)?);
    match packing {
        Packing::TarGz => {
            let mut archive = tar::Archive::new(GzDecoder::new(file));
            for entry in archive.entries().map_err(|error| malformed(&error))? {
                let mut entry = entry.map_err(|error| malformed(&error))?;
                if entry.header().entry_type().is_file() {
                    let name = entry.path().map_err(|error| malformed(&error))?.into_owned();
                    write(into, &name, &mut entry).map_err(|error| malformed(&error))?;
                }
            }
        }
        Packing::Zip => {
            let mut archive = zip::ZipArchive::new(file).map_err(|error| malformed(&error))?;
            for index in 0..archive.len() {
                let mut entry = archive.by_index(index).map_err(|error| malformed(&error))?;
                if let (true, Some(name)) = (entry.is_file(), entry.enclosed_name()) {
                    write(into, &name, &mut entry).map_err(|error| malformed(&error))?;
                }
            }
        }
    }
    Ok(())
}

fn write(into: &Path, name: &Path, content: &mut dyn Read) -> Result<()> {
    use std::path::Component;
    if !name.components().all(|component| matches!(component, Component::Normal(_) | Component::CurDir)) {
        return Ok(());
    }
    let path: PathBuf = into.join(name);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).at(folder)?;
    }
    let mut file = File::create(&path).at(&path)?;
    io::copy(content, &mut file).at(&path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::download::server::{file, serve};
    use std::io::Write;

    fn md5_hex(bytes: &[u8]) -> String {
        Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn tar_gz(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
        for (name, content) in files {
            let mut header = tar::Header::new_gnu();
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            builder.append(&header, *content).unwrap();
        }
        builder.into_inner().unwrap().finish().unwrap()
    }

    fn zipped(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
        for (name, content) in files {
            writer.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
            writer.write_all(content).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    fn offer_of(address: &str, name: &str, content: &[u8], folder: &str, packing: Packing) -> Offer {
        let archive = Archive {
            url: format!("{address}/{name}"),
            length: Some(content.len() as u64),
            md5: md5_hex(content),
            folder: folder.to_owned(),
            packing,
        };
        Offer { name: "birds", title: "Birds", terms: "none", way: Way::Download(vec![archive]) }
    }

    #[test]
    fn both_kinds_of_archives_arrive_over_a_bad_line_and_nothing_leaves_the_folder() {
        let files: [(&str, &[u8]); 3] = [("birds/images/1.jpg", b"one"), ("birds/classes.txt", b"two"), ("../outside.txt", b"bad")];
        for (name, packing, content) in [("birds.tgz", Packing::TarGz, tar_gz(&files)), ("birds.zip", Packing::Zip, zipped(&files))] {
            let folder = tempfile::tempdir().unwrap();
            let root = folder.path().join("data");
            let served = content.clone();
            let (address, requests) = serve(move |request| file(request, &served, served.len() / 2));
            let offer = offer_of(&address, name, &content, "birds", packing);
            let mut told = Vec::new();
            fetch(&offer, &root, &mut |_, status| told.push(status)).unwrap();
            assert_eq!(fs::read(root.join("birds/images/1.jpg")).unwrap(), b"one");
            assert_eq!(fs::read_dir(&root).unwrap().count(), 1, "archive and temporary folder are gone");
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing was written outside");
            assert!(told.ends_with(&[ArchiveStatus::Verifying, ArchiveStatus::Unpacking]) && requests.lock().unwrap().len() > 1);
            told.clear();
            fetch(&offer, &root, &mut |_, status| told.push(status)).unwrap();
            assert_eq!(told, [ArchiveStatus::Present]);
        }
    }

    #[test]
    fn another_checksum_and_a_damaged_archive_leave_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let content = tar_gz(&[("birds/1.jpg", b"one")]);
        let served = content.clone();
        let (address, _) = serve(move |request| file(request, &served, usize::MAX));
        let mut offer = offer_of(&address, "birds.tgz", &content, "birds", Packing::TarGz);
        let mut fetch_with = |change: &dyn Fn(&mut Archive)| {
            let Way::Download(archives) = &mut offer.way else { unreachable!() };
            change(&mut archives[0]);
            fetch(&offer, folder.path(), &mut |_, _| {}).unwrap_err().to_string()
        };
        let problem = fetch_with(&|archive| archive.md5 = "0".repeat(32));
        assert!(problem.contains("MD5") && problem.contains(&md5_hex(&content)), "{problem}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let problem = fetch_with(&|archive| (archive.md5, archive.packing) = (md5_hex(&content), Packing::Zip));
        assert!(problem.contains("damaged archive"), "{problem}");
        let problem = fetch_with(&|archive| (archive.packing, archive.folder) = (Packing::TarGz, "cats".to_owned()));
        assert!(problem.contains("found no folder cats"), "{problem}");
    }

    #[test]
    fn every_offer_is_described_and_those_by_hand_say_where() {
        for offer in offers() {
            let text = offer.to_string();
            assert!(text.contains(offer.title) && text.contains(offer.terms));
            assert!(offer.name.parse::<crate::data::DataConfig>().is_err(), "a source that needs a path");
            if let Way::ByHand(how) = offer.way {
                let problem = fetch(&offer, Path::new("/nowhere"), &mut |_, _| {}).unwrap_err().to_string();
                assert!(problem.contains(how));
            }
        }
        assert!(offer("cub200").unwrap().to_string().contains("1150.6 MB, MD5 97ece"));
        assert!(offer("imagenet").unwrap_err().to_string().contains("expected one of cub200, omniglot"));
    }
}
