// Draws a dashboard with Grafana's own components and no Grafana server; scripts/pictures makes the page around it.
// DASHBOARD is the file of deploy/grafana, ANSWERS what Prometheus said: {from, to, of: {panel: [result of each query]}}.
// Pie, gauge and table are drawn here: the pie is a plugin, the plotting of the gauge is in the server, and the table of
// @grafana/ui does not survive bundling.
import 'uplot/dist/uPlot.min.css';
import React from 'react';
import { createRoot } from 'react-dom/client';
import { applyFieldOverrides, createTheme, FieldType, getDisplayProcessor, toDataFrame } from '@grafana/data';
import { BigValue, GlobalStyles, PanelChrome, ThemeContext, TimeSeries } from '@grafana/ui';

const { DASHBOARD: dashboard, ANSWERS: answers } = window;
const theme = createTheme({ colors: { mode: 'light' } });
const at = (seconds) => ({ valueOf: () => seconds * 1000 });
const range = { from: at(answers.from), to: at(answers.to), raw: { from: 'now-10m', to: 'now' } };
const text = { color: theme.colors.text.primary, fontSize: 12 };

function legend(format, labels) {
  if (format !== '__auto') return format.replace(/\{\{(\w+)\}\}/g, (_, name) => labels[name] ?? '');
  return Object.entries(labels).filter(([name]) => name !== '__name__').map(([, value]) => value).join(', ') || 'value';
}

function frame(target, series) {
  const name = legend(target.legendFormat, series.metric);
  const points = series.values ?? [series.value];
  const values = points.map(([, value]) => (value === 'NaN' ? null : Number(value)));
  return toDataFrame({ refId: target.refId, name, fields: [
    { name: 'Time', type: FieldType.time, values: points.map(([time]) => time * 1000), config: {} },
    { name: 'Value', type: FieldType.number, values, labels: series.metric, config: { displayNameFromDS: name } },
  ] });
}

// What overrides say is applied by hand: the registry that knows `custom.…` is in the server.
function override(config, { defaults, overrides }) {
  const out = { ...defaults, ...config, custom: { ...defaults.custom } };
  for (const { matcher, properties } of overrides) {
    if (!new RegExp(matcher.options.slice(1, -1)).test(config.displayNameFromDS)) continue;
    for (const { id, value } of properties) {
      if (id.startsWith('custom.')) out.custom[id.slice(7)] = value;
      else Object.assign(out, { [id]: value }, id === 'unit' ? { min: undefined, max: undefined } : {});
    }
  }
  return out;
}

function frames(panel) {
  const data = panel.targets.flatMap((target, i) => answers.of[panel.id][i].map((series) => frame(target, series)));
  const fieldConfig = { defaults: panel.fieldConfig.defaults, overrides: [] };
  const shown = applyFieldOverrides({ data, fieldConfig, replaceVariables: (s) => s, theme, timeZone: 'utc' });
  shown.forEach((each, seriesIndex) => {
    const field = each.fields[1];
    field.config = override(field.config, panel.fieldConfig);
    field.state = { ...field.state, seriesIndex, displayName: field.config.displayNameFromDS };
    field.display = getDisplayProcessor({ field, theme, timeZone: 'utc' });
  });
  return shown;
}

function lastOf(each) {
  const field = each.fields[1];
  const number = field.values.filter((value) => value !== null).at(-1);
  return { ...field.display(number), title: field.config.displayNameFromDS, number, config: field.config };
}

function Table({ panel, height }) {
  const rows = new Map();
  panel.targets.forEach((target, i) => answers.of[panel.id][i].forEach(({ metric: { __name__, ...labels }, value }) => {
    const key = JSON.stringify(labels);
    const column = target.legendFormat === '__auto' ? 'value' : target.legendFormat;
    rows.set(key, { ...labels, ...rows.get(key), [column]: Number(Number(value[1]).toFixed(1)) });
  }));
  const columns = [...new Set([...rows.values()].flatMap(Object.keys))];
  const cell = { ...text, padding: '3px 10px', borderBottom: `1px solid ${theme.colors.border.weak}`, textAlign: 'left' };
  const line = (key, Cell, of) => <tr key={key}>{columns.map((name) => <Cell key={name} style={cell}>{of(name)}</Cell>)}</tr>;
  return <div style={{ height, overflow: 'hidden' }}><table style={{ borderCollapse: 'collapse', width: '100%' }}><tbody>
    {line('head', 'th', (name) => name)}
    {[...rows].map(([key, row]) => line(key, 'td', (name) => row[name]))}
  </tbody></table></div>;
}

const colour = (i) => theme.visualization.getColorByName(theme.visualization.palette[i % theme.visualization.palette.length]);

// A ring from one part of the circle to another; 0 and 1 are at its top.
function Ring({ x, y, radius, from, to, fill }) {
  const point = (part, r) => `${x + r * Math.sin(part * 2 * Math.PI)} ${y - r * Math.cos(part * 2 * Math.PI)}`;
  const end = Math.min(to, from + 0.9999), isLarge = end - from > 0.5 ? 1 : 0, inner = radius * 0.65;
  const path = `M${point(from, radius)}A${radius} ${radius} 0 ${isLarge} 1 ${point(end, radius)}`
    + `L${point(end, inner)}A${inner} ${inner} 0 ${isLarge} 0 ${point(from, inner)}Z`;
  return <path d={path} fill={fill} />;
}

function Pie({ values, width, height }) {
  const total = values.reduce((sum, value) => sum + value.number, 0), radius = height / 2 - 6;
  let from = 0;
  return <svg width={width} height={height}>{values.map((value, i) => {
    const begin = from;
    from += value.number / total;
    return <g key={value.title}>
      <Ring x={radius + 6} y={radius + 6} radius={radius} from={begin} to={from} fill={colour(i)} />
      <rect x={2 * radius + 30} y={14 + i * 20} width={12} height={4} fill={colour(i)} />
      <text x={2 * radius + 50} y={20 + i * 20} fill={text.color} fontSize={12}>
        {`${value.title}: ${value.text}${value.suffix ?? ''}, ${((100 * value.number) / total).toFixed(0)} %`}</text>
    </g>;
  })}</svg>;
}

function Gauge({ value, width, height }) {
  const place = { x: width / 2, y: height * 0.9, radius: Math.min(width / 2, height) * 0.8 };
  const part = Math.max(0, Math.min(1, value.number)) / 2;
  return <svg width={width} height={height}>
    <Ring {...place} from={-0.25} to={0.25} fill={theme.colors.background.secondary} />
    <Ring {...place} from={-0.25} to={part - 0.25} fill={value.color} />
    <text x={place.x} y={place.y - 12} textAnchor="middle" fontSize={40} fill={value.color}>{value.text}{value.suffix}</text>
  </svg>;
}

function Shown({ panel, width, height }) {
  if (panel.type === 'table') return <Table panel={panel} height={height} />;
  const data = frames(panel);
  if (!data.length) return <div style={text}>{panel.fieldConfig.defaults.noValue}</div>;
  if (panel.type === 'timeseries') {
    return <TimeSeries frames={data} structureRev={1} width={width} height={height} timeRange={range} timeZone="utc"
      legend={{ ...panel.options.legend, calcs: [] }} options={panel.options}>{() => null}</TimeSeries>;
  }
  const values = data.map(lastOf);
  if (panel.type === 'gauge') return <Gauge value={values[0]} width={width} height={height} />;
  if (panel.type === 'piechart') return <Pie values={values.filter((value) => value.number > 0)} width={width} height={height} />;
  return <div style={{ display: 'flex' }}>{values.map((value) => <BigValue key={value.title} value={value} theme={theme}
    width={width / values.length} height={height} colorMode="value" graphMode="none" justifyMode="auto" textMode="value_and_name" />)}</div>;
}

class Guard extends React.Component {
  state = {};
  static getDerivedStateFromError(error) { return { error }; }
  componentDidCatch(error) { window.ERRORS.push(`${this.props.title}: ${error.message}`); }
  render() { return this.state.error ? String(this.state.error) : this.props.children; }
}

function Panel({ panel }) {
  const { x, y, w, h } = panel.gridPos, width = (w * 1600) / 24 - 8, height = h * 32 - 8;
  return <div style={{ position: 'absolute', left: (x * 1600) / 24, top: y * 32, width, height }}><Guard title={panel.title}>
    <PanelChrome title={panel.title} width={width} height={height}>
      {(innerWidth, innerHeight) => <Guard title={panel.title}><Shown panel={panel} width={innerWidth} height={innerHeight} /></Guard>}
    </PanelChrome></Guard></div>;
}

window.ERRORS = [];
createRoot(document.getElementById('root')).render(<ThemeContext.Provider value={theme}>
  <GlobalStyles />
  <div style={{ position: 'relative' }}>{dashboard.panels.map((panel) => <Panel key={panel.id} panel={panel} />)}</div>
</ThemeContext.Provider>);
// The title is how the page says that it is done, and what failed.
setTimeout(() => { document.title = `done ${JSON.stringify(window.ERRORS)}`; }, 3000);
