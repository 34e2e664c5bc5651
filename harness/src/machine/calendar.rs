//! The calendar of a machine, which starts at a fixed date and runs with the guest's time.

use serde_json::Value;
use std::time::Duration;

/// What all machines start with.
pub(super) const START: &str = "2000-01-01";
const START_YEAR: i64 = 2000;

/// How long after the start a date is, given as QEMU gives it: the `struct tm` of C.
pub(super) fn since_start(date: &Value) -> Option<Duration> {
    let field = |name: &str, most: i64| date[name].as_i64().filter(|value| (0..=most).contains(value));
    let year = 1900 + field("tm_year", 9999)?;
    let (month, day) = (1 + field("tm_mon", 11)?, field("tm_mday", 31)?);
    let (hour, minute, second) = (field("tm_hour", 23)?, field("tm_min", 59)?, field("tm_sec", 60)?);
    let days = days(year, month, day) - days(START_YEAR, 1, 1);
    u64::try_from(((days * 24 + hour) * 60 + minute) * 60 + second).ok().map(Duration::from_secs)
}

/// Days of the Gregorian calendar up to a date, from some day on. Years are counted from March, so that a leap day
/// is the last of its year.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn seconds(date: [i64; 6]) -> Option<u64> {
        let [year, month, day, hour, minute, second] = date;
        let date = json!({
            "tm_year": year - 1900, "tm_mon": month - 1, "tm_mday": day,
            "tm_hour": hour, "tm_min": minute, "tm_sec": second,
        });
        since_start(&date).map(|time| time.as_secs())
    }

    #[test]
    fn dates_are_counted_from_the_start() {
        const DAY: u64 = 24 * 60 * 60;
        assert_eq!(seconds([2000, 1, 1, 0, 0, 0]), Some(0));
        assert_eq!(seconds([2000, 1, 1, 1, 2, 3]), Some(3723));
        assert_eq!(seconds([2000, 2, 29, 0, 0, 0]), Some(59 * DAY));
        assert_eq!(seconds([2000, 3, 1, 0, 0, 0]), Some(60 * DAY));
        assert_eq!(seconds([2001, 1, 1, 0, 0, 0]), Some(366 * DAY));
        assert_eq!(seconds([2100, 3, 1, 0, 0, 0]), Some((100 * 365 + 25 + 59) * DAY));
        assert_eq!(seconds([1999, 12, 31, 23, 59, 59]), None, "before the start");
        assert_eq!(seconds([2000, 13, 1, 0, 0, 0]), None);
        assert_eq!(since_start(&json!({})), None);
        assert_eq!(since_start(&json!("now")), None);
    }
}
