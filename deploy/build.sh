#!/usr/bin/env bash
# Emits JavaScript and types into dist/: what is packaged and deployed. Node refuses TypeScript inside node_modules,
# and a build starts faster and smaller. What the programs read at run time stands beside them.
set -euo pipefail
cd "$(dirname "$0")/.."
rm -rf dist
tsc -p tsconfig.build.json
(cd broker/proto && find google grpc lastmile -name '*.proto' -exec cp --parents {} ../../dist/broker/proto/ \;)
(cd broker/console/pages && cp ./*.html ./*.css ../../../dist/broker/console/pages/)
cp package-lock.json LICENSE dist/
# The packaged manifest names the built files.
node -e '
const manifest = JSON.parse(require("node:fs").readFileSync("package.json", "utf8"));
delete manifest.scripts; delete manifest.devDependencies; delete manifest.optionalDependencies;
manifest.bin = { lastmile: "broker/main.js" };
manifest.exports = { "./client": { types: "./broker/client/client.d.ts", default: "./broker/client/client.js" } };
require("node:fs").writeFileSync("dist/package.json", `${JSON.stringify(manifest, null, 2)}\n`);'
chmod 755 dist/broker/main.js
