//! The calendar of a machine, which starts at a fixed date and runs with the guest's time.

use serde_json::Value;
use std::time::Duration;
use time::{Date, Month};

/// What all machines start with.
pub(super) fn start() -> Date {
    Date::from_calendar_date(2000, Month::January, 1).expect("a date")
}

/// How long after the start a date is, given as QEMU gives it: the `struct tm` of C.
pub(super) fn since_start(date: &Value) -> Option<Duration> {
    let field = |name: &str| date[name].as_u64().and_then(|value| u8::try_from(value).ok());
    let year = date["tm_year"].as_u64().and_then(|value| i32::try_from(value).ok())?;
    let month = Month::try_from(field("tm_mon")?.checked_add(1)?).ok()?;
    let day = Date::from_calendar_date(year.checked_add(1900)?, month, field("tm_mday")?).ok()?;
    let at = day.with_hms(field("tm_hour")?, field("tm_min")?, field("tm_sec")?).ok()?;
    (at - start().midnight()).try_into().ok()
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
