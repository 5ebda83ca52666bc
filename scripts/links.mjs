// For scripts/links: says what in a Markdown file is no address, or looks like a link and is none.

// What rustdoc resolves, and checks.
const RUSTDOC = /^(crate|terrace_policy)::/

export default function forms() {
  return (tree, file) => {
    const inManual = file.path.startsWith('crates/terrace/src/manual/')
    visit(tree, (node) => {
      const url = node.url
      if (url !== undefined && /^\w[\w+.-]*:/.test(url) && !(inManual && RUSTDOC.test(url)) && !isAddress(url)) {
        file.message(`\`${url}\` is no address`, node)
      }
      if (node.type === 'text' && /\]\(|\]\[|\]: /.test(node.value)) {
        file.message(`\`${node.value.slice(0, 60)}\` is no link`, node)
      }
    })
  }
}

function visit(node, see) {
  see(node)
  for (const child of node.children ?? []) visit(child, see)
}

function isAddress(url) {
  return /^(https?:\/\/[\w[][^\s]*|mailto:[^\s@]+@[^\s@]+)$/.test(url) && URL.canParse(url)
}
