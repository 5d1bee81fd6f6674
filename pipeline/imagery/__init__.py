"""The way in: catalogue, scenes, sensors, tiles, clouds. The only room that opens image files."""
