import { readFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';

export interface PageFile {
  readonly type: string;
  readonly content: Buffer;
}

const DIRECTORY = new URL('../console/pages/', import.meta.url);
const SCRIPTS = ['approvals', 'enrol', 'wire'] as const;
/** In a clone the scripts are TypeScript and lose their types here; a build has done that already. */
const EXTENSION = import.meta.url.endsWith('.ts') ? '.ts' : '.js';

/** Everything that the pages consist of, by path. Read once, while the process may still read files. */
export function readPageFiles(): ReadonlyMap<string, PageFile> {
  const html = (name: string): PageFile => ({
    type: 'text/html; charset=utf-8',
    content: readFileSync(new URL(`${name}.html`, DIRECTORY)),
  });
  const files = new Map<string, PageFile>([
    ['/', html('index')],
    ['/enrol', html('enrol')],
    [
      '/pages.css',
      { type: 'text/css; charset=utf-8', content: readFileSync(new URL('pages.css', DIRECTORY)) },
    ],
  ]);
  for (const name of SCRIPTS) {
    const source = readFileSync(new URL(`${name}${EXTENSION}`, DIRECTORY), 'utf8');
    const content = Buffer.from(EXTENSION === '.ts' ? stripTypeScriptTypes(source) : source);
    const file = { type: 'text/javascript; charset=utf-8', content };
    // The pages name `.js`; a script that another one imports is asked for as that one names it.
    files.set(`/${name}.js`, file);
    files.set(`/${name}${EXTENSION}`, file);
  }
  return files;
}
