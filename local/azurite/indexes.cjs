// Loaded before Azurite: makes its database, LokiJS, use the indexes that it has. Without this, each lookup of a blob
// compares all blobs, and each deletion sorts them again, so 5,000 files spend most of their time waiting for Azurite.
// The storage service has no such cost. The results of lookups and deletions stay the same.
const fs = require("node:fs");
const path = require("node:path");

const UNIQUE = ["name", "messageId"];

let loki;
try {
  loki = require(require.resolve("lokijs", { paths: [path.dirname(fs.realpathSync(process.argv[1]))] }));
} catch {
  // This Azurite has another database: change nothing.
}

if (loki?.Resultset?.prototype.findAnd && loki?.Collection?.prototype.removeBatchByPositions) {
  const { findAnd } = loki.Resultset.prototype;
  const isNarrow = (condition) => UNIQUE.some((property) => typeof condition[property] === "string");
  // LokiJS uses an index only for the first of several conditions.
  const narrowFirst = function (conditions) {
    const narrow = conditions.filter(isNarrow);
    return findAnd.call(this, [...narrow, ...conditions.filter((condition) => !isNarrow(condition))]);
  };
  loki.Resultset.prototype.findAnd = narrowFirst;
  loki.Resultset.prototype.$and = narrowFirst;

  const { removeBatchByPositions } = loki.Collection.prototype;
  loki.Collection.prototype.removeBatchByPositions = function (positions) {
    if (positions.length === 1) {
      this.remove(this.data[positions[0]]);
    } else {
      removeBatchByPositions.call(this, positions);
    }
  };
}
