//! The machine and the folders of this user.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use indicatif::BinaryBytes;

use super::Finding;
use crate::profiles::ProfileFile;

/// Each partition of the built-in broker keeps some files open.
const OPEN_FILES_MIN: u64 = 4_096;
const DISK_FREE_MIN: u64 = 2 << 30;
/// A sync that takes longer makes every acknowledged record slow.
const SYNC_TIME_MAX: Duration = Duration::from_millis(50);
const SYNCS: u32 = 5;

pub fn examine(data_dir: &Path) -> Vec<Finding> {
    vec![cores(), memory(), open_files(), folder(data_dir), free(data_dir), profiles()]
}

fn cores() -> Finding {
    match std::thread::available_parallelism() {
        Ok(cores) => Finding::ok("processors", cores.to_string()),
        Err(error) => {
            Finding::warning("processors", error.to_string(), "pipelines run on one thread")
        }
    }
}

fn memory() -> Finding {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    match kilobytes {
        Some(kilobytes) => {
            Finding::ok("memory", format!("{} available", BinaryBytes(kilobytes << 10)))
        }
        None => Finding::ok("memory", "unknown on this system"),
    }
}

fn open_files() -> Finding {
    let text = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"));
    match line.and_then(|line| line.split_whitespace().next()) {
        Some("unlimited") => Finding::ok("open files", "no limit"),
        Some(limit) => match limit.parse::<u64>() {
            Ok(limit) if limit < OPEN_FILES_MIN => Finding::warning(
                "open files",
                format!("{limit} at most"),
                "a broker with many partitions needs more: `ulimit -n 65536`, or LimitNOFILE= of systemd",
            ),
            _ => Finding::ok("open files", format!("{limit} at most")),
        },
        None => Finding::ok("open files", "unknown on this system"),
    }
}

/// Writable, and how long a sync takes.
fn folder(data_dir: &Path) -> Finding {
    const ABOUT: &str = "data folder";
    let name = data_dir.display();
    let place = nearest(data_dir);
    if place != data_dir {
        return Finding::ok(ABOUT, format!("{name} will be made by the first broker or run"));
    }
    let probe = data_dir.join(format!(".gristmill-doctor-{}", uuid::Uuid::new_v4().simple()));
    let measured = sync_time(&probe);
    // Absent if it could not be made.
    let _ = fs::remove_file(&probe);
    match measured {
        Ok(time) if time > SYNC_TIME_MAX => Finding::warning(
            ABOUT,
            format!("{name}, a sync takes {} ms", time.as_millis()),
            "acknowledged records wait for it: choose a faster disk with --data-dir, or --durability page-cache",
        ),
        Ok(time) => {
            Finding::ok(ABOUT, format!("{name}, a sync takes {:.1} ms", time.as_secs_f64() * 1e3))
        }
        Err(error) => Finding::wrong(
            ABOUT,
            format!("cannot write into {name}: {error}"),
            Some("choose another folder with --data-dir".into()),
        ),
    }
}

fn sync_time(probe: &Path) -> std::io::Result<Duration> {
    let mut file = File::create_new(probe)?;
    let began = Instant::now();
    for _ in 0..SYNCS {
        file.write_all(&[0; 4_096])?;
        file.sync_data()?;
    }
    Ok(began.elapsed() / SYNCS)
}

fn free(data_dir: &Path) -> Finding {
    const ABOUT: &str = "disk";
    match rustix::fs::statvfs(nearest(data_dir).as_path()) {
        Ok(volume) => {
            let bytes = volume.f_bavail.saturating_mul(volume.f_frsize);
            let found = format!("{} free", BinaryBytes(bytes));
            match bytes < DISK_FREE_MIN {
                true => Finding::warning(
                    ABOUT,
                    found,
                    "topics keep records for 7 days: make room, or set retention.bytes of the topics",
                ),
                false => Finding::ok(ABOUT, found),
            }
        }
        Err(error) => {
            Finding::wrong(ABOUT, format!("cannot look at {}: {error}", data_dir.display()), None)
        }
    }
}

/// The folder itself, or what is there of the way to it.
fn nearest(folder: &Path) -> PathBuf {
    let there = folder.ancestors().find(|ancestor| ancestor.is_dir());
    there.unwrap_or(Path::new("/")).to_owned()
}

fn profiles() -> Finding {
    match ProfileFile::open() {
        Ok(file) => {
            let profiles = &file.profiles;
            let clusters: usize = profiles.environments.values().map(|it| it.clusters.len()).sum();
            let there = if file.path().exists() { "" } else { " (not made yet)" };
            Finding::ok(
                "profiles",
                format!(
                    "{}{there}: {clusters} clusters, environment `{}` in use",
                    file.path().display(),
                    profiles.environment
                ),
            )
        }
        Err(error) => Finding::wrong("profiles", format!("{error:#}"), None),
    }
}
