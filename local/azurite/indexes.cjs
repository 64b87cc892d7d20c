// Loaded before Azurite: lets its database, LokiJS, use the indexes that it has. Otherwise each lookup of a blob compares
// all blobs, and each delete sorts them again, so that 5,000 files would mainly wait for Azurite. The storage service has
// no such cost. What is found and deleted stays the same.
const fs = require("node:fs");
const path = require("node:path");

const UNIQUE = ["name", "messageId"];

let loki;
try {
  loki = require(require.resolve("lokijs", { paths: [path.dirname(fs.realpathSync(process.argv[1]))] }));
} catch {
  // An Azurite with another database.
}

if (loki?.Resultset?.prototype.findAnd && loki?.Collection?.prototype.removeBatchByPositions) {
  const { findAnd } = loki.Resultset.prototype;
  const isNarrow = (condition) => UNIQUE.some((property) => typeof condition[property] === "string");
  // Only the first condition of several is looked up by its index.
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
